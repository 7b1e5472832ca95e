"""The sections of other services: `:statsd:`, `:graphite:`, `:web:` and `:notify:`."""

import re
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from vmpooler_tasks.config.password_hashes import hash_problem, is_hash
from vmpooler_tasks.config.types import NotBlank, Number, Secret, Section, Text, Texts
from vmpooler_tasks.model.notifications.message import TargetType

Port = Annotated[int, Number, Field(ge=1, le=65535)]


class _MetricsServer(Section):
    server: Text | None = Field(None, description="host name or address; nothing is sent without one")
    prefix: Annotated[Text, NotBlank] = Field("vmpooler", description="start of the name of every metric")


class StatsdSection(_MetricsServer):
    """`:statsd:`: gauges are sent there by UDP after each health check."""

    port: Port = Field(8125, description="port, UDP")


class GraphiteSection(_MetricsServer):
    """`:graphite:`: gauges are sent there by TCP after each health check."""

    port: Port = Field(2003, description="port, TCP")


class Role(StrEnum):
    """The rights of a user or program on the web page and in the API."""

    READ = "read"
    OPERATE = "operate"
    """`read`, and also redrive, delete and purge."""


MIN_SECRET_CHARACTERS = 8

_BETWEEN_CREDENTIALS = re.compile(r",(?!(?:t|p)=\d)")
"""A comma in a list of credentials, but not one within an argon2 hash."""


def _as_password(value: SecretStr) -> SecretStr:
    """Return the secret. Raise ValueError for a hash that nobody could log in with."""
    if problem := hash_problem(value.get_secret_value()):
        raise ValueError(problem)
    return value


class Credential(Section):
    """One entry of `users:` or `tokens:` in `:web:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[Text, NotBlank, Field(min_length=1)] = Field(description="name of the user or program in the audit")
    role: Role = Field(Role.READ, description="`read`, or `operate` (also redrive, delete and purge)")
    secret: Annotated[Secret, NotBlank, Field(min_length=MIN_SECRET_CHARACTERS), AfterValidator(_as_password)] = Field(
        description="the token; or the password, or its argon2 hash (`config hash` prints it); at least 8 characters"
    )


def _as_credentials(value: Any) -> Any:
    """Parse `name:role:secret,…` from the environment. A secret may contain colons, but no comma, except in a hash."""
    if not isinstance(value, str):
        return value
    names = ("name", "role", "secret")
    given = _BETWEEN_CREDENTIALS.split(value)
    return [dict(zip(names, one.strip().split(":", 2), strict=False)) for one in given if one.strip()]


def _as_network(value: str) -> str:
    try:
        return str(ip_network(value.strip()))
    except ValueError as error:
        raise ValueError("must be an IP address, or a network such as 10.0.0.0/8") from error


def _split(value: Any) -> Any:
    """Parse a list from the environment, joined by commas."""
    return value.split(",") if isinstance(value, str) else value


Network = Annotated[Text, AfterValidator(_as_network)]


def _as_tokens(value: tuple[Credential, ...]) -> tuple[Credential, ...]:
    """Return the tokens. Raise ValueError for a hash: anybody could make the process check wrong tokens for seconds."""
    for token in value:
        if is_hash(token.secret.get_secret_value()):
            raise ValueError(f"{token.name}: a token is given itself; only the password of a user may be a hash")
    return value


Credentials = Annotated[tuple[Credential, ...], BeforeValidator(_as_credentials)]


class WebSection(Section):
    """`:web:`, the page and the API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Annotated[Text, NotBlank] = Field(
        "127.0.0.1", description="address to listen on; any address but loopback needs credentials"
    )
    port: Port = Field(8080, description="port")
    users: Credentials = Field((), description="who may log in, each with `name`, `role` and `secret`")
    tokens: Annotated[Credentials, AfterValidator(_as_tokens)] = Field(
        (), description="bearer tokens of programs, each with `name`, `role` and `secret`"
    )
    tls_certificate: Text | None = Field(None, description="file with the certificate chain, PEM; serves HTTPS")
    tls_key: Text | None = Field(None, description="file with its key, PEM")
    hosts: Annotated[tuple[Text, ...], BeforeValidator(_split)] = Field(
        (), description="host names that requests may use; default: those of loopback on loopback, else any"
    )
    proxies: Annotated[tuple[Network, ...], BeforeValidator(_split)] = Field(
        (), description="addresses or networks of the proxies whose `X-Forwarded-For` and `-Proto` count; default: none"
    )
    flower: Annotated[Text, NotBlank, Field(pattern=r"^https?://\S+$")] | None = Field(
        None, description="address of Flower, for a link at the end of the page"
    )


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _as_address(value: SecretStr) -> SecretStr:
    """Return the address if it is one of HTTP. No message repeats it: it may hold a token."""
    text = value.get_secret_value()
    problem = "must be an address that starts with http:// or https:// and names a host"
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise ValueError(problem) from error
    if not named or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(problem)
    return value


def _as_headers(value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    for name, secret in value.items():
        text = secret.get_secret_value()
        if not _HEADER_NAME.fullmatch(name) or not text.isprintable() or not text.isascii():
            raise ValueError("must be names and values of HTTP headers, in ASCII and without line breaks")
    return value


HttpAddress = Annotated[Secret, NotBlank, AfterValidator(_as_address)]


class NotifyTarget(Section):
    """One entry of `targets:` in `:notify:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[Text, NotBlank, Field(max_length=100)] = Field(
        "", description="name in the log, in `doctor` and in the metrics; default: the type"
    )
    type: TargetType = Field(description="`webhook`, `slack`, `alertmanager` or `command`")
    url: HttpAddress | None = Field(None, description="where to send; of Alertmanager the address without a path")
    headers: Annotated[Mapping[str, Secret], AfterValidator(_as_headers)] = Field(
        {}, description="HTTP headers to send, such as `Authorization`"
    )
    command: Texts = Field((), repr=False, description="a program and its arguments; no shell reads them")

    @model_validator(mode="before")
    @classmethod
    def _name_after_type(cls, data: Any) -> Any:
        return {"name": data["type"], **data} if isinstance(data, dict) and data.get("type") else data

    @model_validator(mode="after")
    def _needs_its_options(self) -> Self:
        if self.type is TargetType.COMMAND:
            if self.url is not None or self.headers:
                raise ValueError("a command has no url and no headers")
            if not self.command or not self.command[0] or any("\0" in word for word in self.command):
                raise ValueError("needs command: a list with a program and its arguments")
        elif self.url is None:
            raise ValueError("needs url")
        elif self.command:
            raise ValueError("only a target of type command has a command")
        return self

    @property
    def place(self) -> str:
        """Return where this target is, for people: never a path, a query or a login, which may hold a token."""
        if self.url is None:
            return self.command[0]
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _as_targets(value: Any) -> Any:
    """Parse `type=address,…` from the environment. An address may contain `=`, but no comma."""
    if not isinstance(value, str):
        return value
    return [
        dict(zip(("type", "url"), one.strip().split("=", 1), strict=False)) for one in value.split(",") if one.strip()
    ]


class NotifySection(Section):
    """`:notify:`, who is notified when the health status changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    web: Annotated[Text, NotBlank] | None = Field(
        None, description="address of the page for the links, such as `https://vmpooler-tasks.example.com`"
    )
    targets: Annotated[tuple[NotifyTarget, ...], BeforeValidator(_as_targets)] = Field(
        (), description="who is notified, each with the options below; nobody without one"
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        repeated = [name for name, count in Counter(target.name for target in self.targets).items() if count > 1]
        if repeated:
            raise ValueError(f"two targets have the name {repeated[0]}: give each a name")
        if self.web is not None:
            _as_address(SecretStr(self.web))
        return self
