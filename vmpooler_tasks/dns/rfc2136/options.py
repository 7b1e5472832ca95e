"""The options of an entry of `:dns_configs:` whose `dns_class` is `rfc2136`."""

import base64
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

import dns.exception
import dns.name
import dns.tsig
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator

Algorithm = Literal["hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"]

ALGORITHM_NAMES = {"hmac-md5": "hmac-md5.sig-alg.reg.int"}
"""Names of algorithms in messages, where they are not those of the option."""

_KEY_FILE = re.compile(  # as tsig-keygen and rndc-confgen write it
    r'key\s+"?(?P<name>[^\s"{]+)"?\s*\{(?=[^}]*\balgorithm\s+"?(?P<algorithm>[\w.-]+)"?\s*;)'
    r'(?=[^}]*\bsecret\s+"?(?P<secret>[\w+/=]+)"?\s*;)',
    re.IGNORECASE,
)

MAX_KEY_FILE_BYTES = 65_536


class Rfc2136Options(BaseModel):
    """Where the updates go, and the key that signs them."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    server: str = Field(min_length=1, description="name or address of the zone's primary server")
    port: Annotated[int, Field(ge=1, le=65_535)] = Field(53, description="its TCP port")
    zone: str = Field(min_length=1, description="the zone that is updated; `domain` is in it")
    key_name: str | None = Field(None, description="name of the TSIG key that signs each message")
    key_secret: SecretStr | None = Field(None, description="its secret, in base64")
    key_algorithm: Algorithm = Field("hmac-sha256", description="its algorithm")
    key_file: Path | None = Field(None, description="a file with the key, as `tsig-keygen` writes it, in their place")
    ttl: Annotated[int, Field(ge=0, le=86_400)] = Field(60, description="seconds that others may keep a record")
    timeout: Annotated[float, Field(gt=0, le=60)] = Field(10, description="seconds that one message may take")

    @field_validator("zone")
    @classmethod
    def _zone_has_the_domain(cls, zone: str, info: ValidationInfo) -> str:
        try:
            name, domain = (dns.name.from_text(text) for text in (zone, (info.context or {}).get("domain", zone)))
        except dns.exception.DNSException:
            raise ValueError("must be the name of a zone, such as example.com") from None
        if not domain.is_subdomain(name):
            raise ValueError("must be the domain, or a part at its end")
        return name.to_text(omit_final_dot=True)

    @model_validator(mode="after")
    def _key_is_whole(self) -> Self:
        if self.key_file is not None:
            if self.key_name or self.key_secret:
                raise ValueError("key_file takes the place of key_name and key_secret: set one or the other")
        elif bool(self.key_name) is not bool(self.key_secret):
            raise ValueError("key_name and key_secret belong together: set both, or none for unsigned updates")
        self.key  # noqa: B018 - to see that it is valid
        return self

    @cached_property
    def key(self) -> dns.tsig.Key | None:
        """Return the TSIG key; None for unsigned messages. Raise ValueError without the secret."""
        if self.key_file is not None:
            return _key_of(self.key_file)
        if self.key_name is None or self.key_secret is None:
            return None
        return _key(self.key_name, self.key_secret.get_secret_value(), self.key_algorithm)


def _key_of(file: Path) -> dns.tsig.Key:
    try:
        with file.open(encoding="utf-8") as opened:
            found = _KEY_FILE.search(opened.read(MAX_KEY_FILE_BYTES))
    except OSError as error:
        raise ValueError(f"key_file {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        found = None
    if found is None:
        raise ValueError(f"key_file {file} has no key: `tsig-keygen NAME` writes such a file")
    return _key(found["name"], found["secret"], found["algorithm"].casefold())


def _key(name: str, secret: str, algorithm: str) -> dns.tsig.Key:
    try:
        return dns.tsig.Key(name, base64.b64decode(secret, validate=True), ALGORITHM_NAMES.get(algorithm, algorithm))
    except Exception:  # noqa: BLE001 - its text may have the secret
        raise ValueError("the key is not valid: key_name is a DNS name, and key_secret is base64") from None
