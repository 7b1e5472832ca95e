"""An address of Redis, taken apart once for its three readers: the store, Celery's broker and Celery's results.

Each of them reads `rediss://` and Sentinel in its own way, and forgives other mistakes. Here one address means the same
to all:

    redis://user:password@host:6379/0
    rediss://user:password@host:6379/0?ssl_ca_certs=/etc/ssl/ca.pem
    sentinel://user:password@one:26379,two:26379/0?master=mymaster
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
CERTIFICATES = "ssl_cert_reqs"
HOST_NAME = "ssl_check_hostname"
MASTER = "master"
SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")

_DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379}
_DEMANDS = ("required", "optional", "none")
_SWITCH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """`tls` and `sentinel_login` are in redis-py's words; without `master`, there is one host, and it is Redis."""

    hosts: tuple[tuple[str, int], ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: Mapping[str, Any] = field(default_factory=dict)
    master: str | None = None
    sentinel_login: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def server(self) -> dict[str, Any]:
        """The first host, in redis-py's words."""
        host, port = self.hosts[0]
        return {"host": host, "port": port}

    @property
    def login(self) -> dict[str, Any]:
        """Who we are there and in which database, in redis-py's words."""
        return {"username": self.username, "password": self.password, "db": self.database}

    @property
    def security(self) -> dict[str, Any]:
        """Whether by TLS, and how, in redis-py's words."""
        return {"ssl": True, **self.tls} if self.tls else {}

    @property
    def urls(self) -> list[str]:
        """One for each host, with the login and without options."""
        scheme = "sentinel" if self.master else "rediss" if self.tls else "redis"
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        login = f"{quote(self.username or '', safe='')}{secret}@" if self.username or secret else ""
        named = [(f"[{host}]" if ":" in host else host, port) for host, port in self.hosts]
        return [f"{scheme}://{login}{host}:{port}/{self.database}" for host, port in named]


def understood(url: str) -> bool:
    """Whether it is taken apart here. Others (unix://) are redis-py's and Celery's own business, and so are options of
    theirs in a `redis://`.
    """
    parts = urlsplit(url)
    return parts.scheme in _DEFAULT_PORTS and not (parts.scheme == "redis" and parts.query)


def read_address(url: str) -> RedisAddress:
    """Takes an address apart that has none of `mistakes`."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    options = dict(parse_qsl(parts.query))
    tls = _tls(options) if parts.scheme == "rediss" or set(options) & {*TLS_FILES, CERTIFICATES, HOST_NAME} else {}
    return RedisAddress(
        hosts=tuple(_host(host, _DEFAULT_PORTS[parts.scheme]) for host in hosts.split(",")),
        username=unquote(user) or None,
        password=unquote(password) or None,
        database=int(options.get("db", parts.path.strip("/") or 0)),
        tls=tls,
        master=options.get(MASTER) if parts.scheme == "sentinel" else None,
        sentinel_login={name.removeprefix("sentinel_"): options[name] for name in SENTINEL_LOGIN if name in options},
    )


def mistakes(url: str) -> Iterator[str]:
    """What is wrong with an address whose parts can be told apart. Nothing that it says may show a password."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    known = {*TLS_FILES, CERTIFICATES, HOST_NAME, "db"}
    if parts.scheme == "sentinel":
        known |= {MASTER, *SENTINEL_LOGIN}
        if not options.get(MASTER):
            yield "a sentinel:// address needs the name of its master: ?master=mymaster"
    elif parts.scheme == "redis" and set(options) & {*TLS_FILES, CERTIFICATES, HOST_NAME}:
        yield "options of TLS need rediss://"
    if not understood(url):
        return
    if unknown := sorted(options.keys() - known):
        yield f"unknown option {unknown[0]}; there are {', '.join(sorted(known))}"
    if not str(options.get("db", parts.path.strip("/") or 0)).isdecimal():
        yield "the database must be a number, as in redis://host:6379/0"
    yield from _mistakes_of_tls(options)


def _mistakes_of_tls(options: Mapping[str, str]) -> Iterator[str]:
    if _demand(options) not in _DEMANDS:
        yield f"{CERTIFICATES} must be one of {', '.join(_DEMANDS)}"
    if options.get(HOST_NAME, "true").lower() not in _SWITCH:
        yield f"{HOST_NAME} must be true or false"
    for name in TLS_FILES:
        if name in options and not Path(options[name]).is_file():
            yield f"{name}: there is no file {options[name]}"
    if ("ssl_keyfile" in options) != ("ssl_certfile" in options):
        yield "ssl_certfile and ssl_keyfile need each other"


def _tls(options: Mapping[str, str]) -> dict[str, Any]:
    """Certificates are verified unless the address says that they are not."""
    demand = _demand(options)
    return {
        CERTIFICATES: demand,
        HOST_NAME: demand != "none" and _SWITCH[options.get(HOST_NAME, "true").lower()],
        **{name: options[name] for name in TLS_FILES if name in options},
    }


def _demand(options: Mapping[str, str]) -> str:
    """In redis-py's words; Celery's own documentation has `CERT_REQUIRED`."""
    return options.get(CERTIFICATES, _DEMANDS[0]).lower().removeprefix("cert_")


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return unquote(parts.hostname or "localhost"), parts.port or port
