"""Create redis-py's client for an address: Redis by TCP, TLS or socket, or the master behind Sentinels.

redis-py says "No master found" whatever the cause is. The classes here name the cause: Sentinels that do not reply,
that deny access, that do not know the name, or whose master is down; and a master that denies access.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.credentials import UsernamePasswordCredentialProvider
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from vmpooler_tasks.config.redis_address import read_address
from vmpooler_tasks.model.redaction import REDACTED

MAX_NAMED_MASTERS = 4
"""Masters that an error names, of those that the Sentinels know."""

WITHOUT_PASSWORD = ("HELLO must be called", "Authentication required")
"""How Redis starts the error for a client that sent no password. It says at length that HELLO came before AUTH."""

_CONNECTING = re.compile(r"^Error \S+ connecting to \S+ ")

_Hosts = Mapping[str, list[str]]
"""Error → the Sentinels that returned it."""

CONNECTION_ERRORS = (redis.ConnectionError, redis.TimeoutError)
"""Errors of a Redis that does not reply, or denies access."""

REFUSALS = (redis.ResponseError,)
"""Errors of a Redis that replies, and refuses a command."""


class HiddenLogin(UsernamePasswordCredentialProvider):
    """A login for redis-py that shows nothing of itself, neither in Python nor in JSON."""

    def __json__(self) -> str:
        """Return what kombu writes for a login within a reply, such as that of `inspect stats`."""
        return REDACTED


class SentinelsDenyError(MasterNotFoundError):
    """The Sentinels deny access."""


def client_for(url: str, **options: Any) -> Any:
    """Return a client, without opening a connection. `options` are redis-py's. Raise ValueError for a wrong address."""
    address = read_address(url)
    if address.master is None:
        return redis.Redis(**address.server, **address.login, **address.security, **options)
    bounds = {name: value for name, value in options.items() if name.startswith("socket_")}
    sentinels = Sentinels(
        address.hosts,
        sentinel_kwargs={**address.sentinel_login, **address.security, **bounds},
        **address.login,
        **address.security,
        **options,
    )
    return sentinels.master_for(address.master)


class MasterConnection(SentinelManagedConnection):
    """A connection to the master, whose error about the login names the master."""

    def connect_to(self, address: Any) -> None:
        """Connect to the master. Raise AuthenticationError with its address if it denies access."""
        try:
            cast("Any", super()).connect_to(address)
        except AuthenticationError as error:
            host, port = address
            raise AuthenticationError(
                f"the master {host}:{port} denies access, its Sentinels do not: {_text(error)}"
            ) from error


class SecureMasterConnection(MasterConnection, SentinelManagedSSLConnection):
    """A MasterConnection with TLS."""


class Sentinels(Sentinel):
    """Sentinels that name the reason why they lead to no master."""

    def __init__(self, hosts: Any, *, sentinel_kwargs: Any = None, **options: Any) -> None:
        # One attempt for each Sentinel: whoever uses the client tries again.
        login = {"retry": Retry(NoBackoff(), 0), **(sentinel_kwargs or {})}
        cast("Any", super()).__init__(hosts, sentinel_kwargs=login, **options)

    def master_for(self, service_name: str, *classes: Any, **options: Any) -> Any:
        """Return a client for the master."""
        given: dict[str, Any] = {**self.connection_kwargs, **options}
        if "connection_class" not in given:
            options["connection_class"] = SecureMasterConnection if given.get("ssl") else MasterConnection
        return cast("Any", super()).master_for(service_name, *classes, **options)

    def discover_master(self, service_name: str) -> Any:
        """Return host and port of the master. Raise MasterNotFoundError with the reason that there is none."""
        silent: defaultdict[str, list[str]] = defaultdict(list)
        denied: defaultdict[str, list[str]] = defaultdict(list)
        known: dict[str, Any] = {}
        for place, sentinel in enumerate(self.sentinels):
            try:
                masters = cast("Any", sentinel).sentinel_masters()
            except (AuthenticationError, NoPermissionError) as error:
                denied[_text(error)].append(_host(sentinel))
                continue
            except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
                silent[_text(error)].append(_host(sentinel))
                continue
            known |= masters
            state = masters.get(service_name)
            if state and cast("Any", self).check_master_state(state, service_name):
                self.sentinels[0], self.sentinels[place] = sentinel, self.sentinels[0]
                return state["ip"], state["port"]
        raise _no_master(service_name, known, denied, silent)


def _no_master(name: str, known: Mapping[str, Any], denied: _Hosts, silent: _Hosts) -> MasterNotFoundError:
    """Return the error with its reason: what the Sentinels know, or why they deny access or are silent."""
    start = f"No master found for {name!r}"
    if state := known.get(name):
        return MasterNotFoundError(f"{start}: its Sentinels report that {state['ip']}:{state['port']} is down")
    if known or not (denied or silent):
        names = ", ".join(map(repr, sorted(known)[:MAX_NAMED_MASTERS])) or "none at all"
        return MasterNotFoundError(f"{start}: its Sentinels know no master of this name, but {names}")
    reasons = "; ".join(f"{', '.join(hosts)}: {text}" for text, hosts in (*denied.items(), *silent.items()))
    if denied:
        return SentinelsDenyError(f"{start}: its Sentinels deny access: {reasons}")
    return MasterNotFoundError(f"{start}: none of its Sentinels replies: {reasons}")


def _host(sentinel: Any) -> str:
    server = sentinel.connection_pool.connection_kwargs
    return f"{server['host']}:{server['port']}"


def _text(error: Exception) -> str:
    """Return the first line of an error of redis-py, without the host and the full stop."""
    lines = str(error).splitlines() or [type(error).__name__]
    if lines[0].startswith(WITHOUT_PASSWORD):
        return "a password is missing"
    return _CONNECTING.sub("", lines[0]).rstrip(".")
