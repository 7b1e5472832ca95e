"""An address of Redis, read once for all its readers: commands, workers, beat, web and Flower.

redis-py, kombu, Celery's results and Flower each read an address in their own way. Here one address means the same to
all of them: `SCHEMES` lists the allowed parts, `address_problems` finds everything else, and `RedisAddress` gives each
reader the parts in its own form.

    redis://user:password@host:6379/0
    rediss://user:password@host:6379/0?ssl_ca_certs=/etc/ssl/ca.pem
    sentinel://user:password@one:26379,two:26379/0?master=mymaster
    unix://user:password@/run/redis.sock?db=0
"""

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

DATABASE = "db"
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
CERTIFICATES = "ssl_cert_reqs"
HOST_NAME = "ssl_check_hostname"
TLS = (*TLS_FILES, CERTIFICATES, HOST_NAME)
MASTER = "master"
SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class Scheme:
    """A kind of address, with all options that it may have."""

    example: str
    options: tuple[str, ...]
    port: int = 0


SCHEMES = {
    "redis": Scheme("redis://user:password@host:6379/0", (DATABASE,), 6379),
    "rediss": Scheme("rediss://user:password@host:6379/0", (DATABASE, *TLS), 6379),
    "sentinel": Scheme(
        "sentinel://user:password@one:26379,two:26379/0?master=mymaster",
        (DATABASE, MASTER, *SENTINEL_LOGIN, *TLS),
        26379,
    ),
    "unix": Scheme("unix://user:password@/run/redis.sock?db=0", (DATABASE,)),
}

# Names of other programs → our names.
_OTHER_SCHEMES = {
    "redis+socket": "unix:///run/redis.sock",
    "socket": "unix:///run/redis.sock",
    "redis+sentinel": "sentinel://",
    "valkey": "redis://",
    "valkeys": "rediss://",
}
_OTHER_OPTIONS = {"virtual_host": DATABASE, "database": DATABASE, "service_name": MASTER}

SOCKET_PATH_BYTES = 107
"""The longest path of a socket that Linux takes (`unix(7)`, `sun_path`)."""

_CERTIFICATE_REQUIREMENTS = ("required", "optional", "none")
_SWITCH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """The parts of an address. `tls` and `sentinel_login` have redis-py's names.

    With `master`, the hosts are Sentinels. With `path`, there is a socket of this machine instead. Otherwise the
    one host is Redis itself.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: Mapping[str, Any] = field(default_factory=dict)
    master: str | None = None
    sentinel_login: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def server(self) -> dict[str, Any]:
        """Return the socket or the first host, as arguments of redis-py."""
        if self.path is not None:
            return {"unix_socket_path": self.path}
        host, port = self.hosts[0]
        return {"host": host, "port": port}

    @property
    def login(self) -> dict[str, Any]:
        """Return user, password and database, as arguments of redis-py."""
        return {"username": self.username, "password": self.password, "db": self.database}

    @property
    def security(self) -> dict[str, Any]:
        """Return the options of TLS, as arguments of redis-py; empty without TLS."""
        return {"ssl": True, **self.tls} if self.tls else {}

    @property
    def urls(self) -> list[str]:
        """Return one URL for each host in the form of kombu, Celery and Flower: with login, without options of TLS."""
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        login = f"{quote(self.username or '', safe='')}{secret}@" if self.username or secret else ""
        if self.path is not None:
            return [f"redis+socket://{login}{quote(self.path)}?virtual_host={self.database}"]
        scheme = "sentinel" if self.master else "rediss" if self.tls else "redis"
        named = [(f"[{host}]" if ":" in host else host, port) for host, port in self.hosts]
        return [f"{scheme}://{login}{host}:{port}/{self.database}" for host, port in named]


def read_address(url: str) -> RedisAddress:
    """Return the parts of an address. Raise ValueError with its first problem, which never contains a password."""
    for problem in address_problems(url):
        raise ValueError(problem)
    parts = _split(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    options = dict(parse_qsl(parts.query))
    scheme = SCHEMES[parts.scheme]
    has_tls = parts.scheme == "rediss" or bool(set(options) & {*TLS})
    is_socket = parts.scheme == "unix"
    return RedisAddress(
        hosts=() if is_socket else tuple(_split_host(host, scheme.port) for host in hosts.split(",")),
        path=unquote(parts.path) if is_socket else None,
        username=unquote(user) or None,
        password=unquote(password) or None,
        database=int(_database_text(parts)),
        tls=_tls_options(options) if has_tls else {},
        master=options.get(MASTER),
        sentinel_login={name.removeprefix("sentinel_"): options[name] for name in SENTINEL_LOGIN if name in options},
    )


def address_problems(url: str) -> Iterator[str]:
    """Yield the problems of an address, one line each. No line contains a password."""
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        schemes, suggestion = " or ".join(f"{name}://" for name in SCHEMES), _suggest_scheme(scheme)
        yield f"{without_login(url)!r} must start with {schemes}{suggestion}"
        return
    if not is_address(url):
        yield f"{without_login(url)!r} is not an address; encode a password's special characters as %2F"
        return
    parts = _split(url)
    if parts.fragment:
        yield "a # must be encoded as %23"
    yield from _socket_problems(parts) if scheme == "unix" else _host_problems(parts)
    problems = list(_option_problems(scheme, parse_qsl(parts.query, keep_blank_values=True)))
    yield from problems
    if problems:
        return
    database = _database_text(parts)
    if not (database.isascii() and database.isdecimal()):
        yield f"the database must be a number, as in {SCHEMES[scheme].example.replace('user:password@', '')}"
    yield from _tls_problems(dict(parse_qsl(parts.query)))


def _suggest_scheme(scheme: str) -> str:
    near = difflib.get_close_matches(scheme, SCHEMES, n=1, cutoff=0.75)
    meant = _OTHER_SCHEMES.get(scheme) or next((f"{one}://" for one in near), None)
    return f"; did you mean {meant}?" if meant else ""


def _socket_problems(parts: SplitResult) -> Iterator[str]:
    path = unquote(parts.path)
    if parts.netloc.rpartition("@")[2] or not path.strip("/"):
        yield "the path of the socket must be complete, with three slashes: unix:///run/redis.sock"
    elif len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        yield f"the path of a socket may have at most {SOCKET_PATH_BYTES} bytes"
    elif "\0" in path:
        yield "the path of a socket may not contain a NUL"


def _host_problems(parts: SplitResult) -> Iterator[str]:
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if len(hosts) > 1 and parts.scheme != "sentinel":
        yield "only sentinel:// may name several hosts"
    for host in hosts:
        place = urlsplit(f"//{host}")
        if not place.hostname and parts.scheme == "sentinel":
            yield "the name of a Sentinel is missing"
        elif set(place.hostname or "") & set("% \\\"'<>"):
            yield f"{place.hostname!r} is not a host name or an address"
        if place.port == 0:
            yield "a port must be from 1 to 65535"


def _option_problems(scheme: str, options: list[tuple[str, str]]) -> Iterator[str]:
    known = SCHEMES[scheme].options
    for name, times in Counter(name for name, _ in options).items():
        if name not in known:
            yield _explain_unknown_option(name, scheme)
        elif times > 1:
            yield f"option {name} is given {times} times"
    for name, value in options:
        if name in known and not value:
            yield f"option {name} is blank: give a value, or remove it"
    if MASTER in known and MASTER not in dict(options):
        yield "a sentinel:// address needs the name of its master: ?master=mymaster"


def _explain_unknown_option(name: str, scheme: str) -> str:
    known = SCHEMES[scheme].options
    elsewhere = [f"{other}://" for other, one in SCHEMES.items() if name in one.options]
    if elsewhere:
        return f"option {name} needs {' or '.join(elsewhere)}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    meant = _OTHER_OPTIONS.get(name) or next(iter(near), None)
    if meant in known:
        return f"unknown option {name}; did you mean {meant}?"
    return f"unknown option {name}: remove it; {scheme}:// takes only {', '.join(known)}"


def _tls_problems(options: Mapping[str, str]) -> Iterator[str]:
    if _certificate_requirement(options) not in _CERTIFICATE_REQUIREMENTS:
        yield f"{CERTIFICATES} must be one of {', '.join(_CERTIFICATE_REQUIREMENTS)}"
    if options.get(HOST_NAME, "true").lower() not in _SWITCH:
        yield f"{HOST_NAME} must be true or false"
    for name in TLS_FILES:
        if name in options and not Path(options[name]).is_file():
            yield f"{name}: there is no file {options[name]}"
    if ("ssl_keyfile" in options) != ("ssl_certfile" in options):
        yield "ssl_certfile and ssl_keyfile need each other"


def _tls_options(options: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of TLS. Certificates are verified unless the address switches it off."""
    requirement = _certificate_requirement(options)
    return {
        CERTIFICATES: requirement,
        HOST_NAME: requirement != "none" and _SWITCH[options.get(HOST_NAME, "true").lower()],
        **{name: options[name] for name in TLS_FILES if name in options},
    }


def _certificate_requirement(options: Mapping[str, str]) -> str:
    """Return the requirement in redis-py's words. Celery's documentation writes `CERT_REQUIRED`."""
    return options.get(CERTIFICATES, _CERTIFICATE_REQUIREMENTS[0]).lower().removeprefix("cert_")


def _database_text(parts: SplitResult) -> str:
    """Return the number as text. The option overrides the path, as in redis-py."""
    in_path = "" if parts.scheme == "unix" else parts.path.strip("/")
    return dict(parse_qsl(parts.query)).get(DATABASE) or in_path or "0"


def _split_host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or port


_PARTS = re.compile(
    r"(?P<scheme>[^:/?#]*)://(?P<netloc>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?"
)
"""The parts of a URL, by RFC 3986, appendix B."""


def _split(url: str) -> SplitResult:
    """Return the parts of an address. Unlike `urlsplit`, it takes several hosts of which some are in brackets."""
    found = _PARTS.fullmatch(url)
    if found is None:
        raise ValueError("a line break must be encoded as %0A")
    netloc, path, query, fragment = (found[part] or "" for part in ("netloc", "path", "query", "fragment"))
    return SplitResult(found["scheme"].lower(), netloc, path, query, fragment)


def is_address(url: str) -> bool:
    """Return True if its parts can be separated: a `/`, `?` or `#` in a password has to be percent-encoded."""
    try:
        parts = _split(url)
        for host in parts.netloc.rpartition("@")[2].split(","):  # several Sentinels
            _ = urlsplit(f"//{host}").port
    except ValueError:
        return False
    return "@" not in parts.path + parts.query + parts.fragment


def without_login(url: str) -> str:
    """Return the address without user, password and options, but with its database.

    Works for text that is not a valid address, too: its password may contain a character that is not encoded.
    """
    if "://" not in url or not is_address(url):
        scheme, separator, rest = url.rpartition("://")
        return scheme + separator + rest.rpartition("@")[2].partition("?")[0]
    parts = _split(url)
    path, query = parts.path, ""
    if database := dict(parse_qsl(parts.query)).get(DATABASE):
        path, query = (path, f"?{DATABASE}={database}") if parts.scheme == "unix" else (f"/{database}", "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}{query}"
