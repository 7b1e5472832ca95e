"""The server of the measurements: our own, or an empty one of the user."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support import servers
from vmpooler_tasks.store import Database

MEASURING_COMMANDS = ("ping", "info", "config", "config|resetstat", "slowlog|get", "slowlog|reset")
"""Commands of the measurement itself, which do not count."""


class UnusableServerError(Exception):
    """A server that cannot be used for measurements; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server did since the last `reset`: `commands` counts those inside scripts, too.

    `longest_seconds` is the time of the longest command or script, 0 if none is in the server's slow log.
    """

    commands: int
    scripts: int
    cpu_seconds: float
    longest_seconds: float


class Target:
    """A server without a password, database 0: the floor supports no other."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "redis" or parts.password or parts.path.strip("/") not in ("", "0"):
            raise UnusableServerError(f"{parts.hostname}: give redis://HOST:PORT, without a password, database 0")
        self.url, self.host, self.port = url, parts.hostname or "127.0.0.1", parts.port or 6379
        self.db = Database(url)
        self._cpu = 0.0

    def refuse_if_used(self) -> None:
        """Raise UnusableServerError if the server has keys: each measurement empties it."""
        if self._info("keyspace"):
            raise UnusableServerError(f"{self.host}:{self.port} holds keys; measure on an empty server")

    def empty(self) -> None:
        self.db.call("FLUSHDB", "SYNC")

    def connect(self) -> socket.socket:
        line = socket.create_connection((self.host, self.port))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return line

    def reset(self) -> None:
        self.db.call("CONFIG", "RESETSTAT")
        self.db.call("SLOWLOG", "RESET")
        self._cpu = self._cpu_seconds()

    def usage(self) -> Usage:
        cpu = self._cpu_seconds() - self._cpu
        calls = {
            name.removeprefix("cmdstat_"): int(values["calls"]) for name, values in self._info("commandstats").items()
        }
        return Usage(
            commands=sum(count for name, count in calls.items() if name not in MEASURING_COMMANDS),
            scripts=calls.get("evalsha", 0),
            cpu_seconds=cpu,
            longest_seconds=max((slow["duration"] / 1e6 for slow in self._slow_log()), default=0.0),
        )

    def _slow_log(self) -> list[Mapping[str, Any]]:
        with self.db.translated_errors():
            found: list[Mapping[str, Any]] = self.db.client.slowlog_get(-1)
            return found

    def used_memory(self) -> float:
        """Return the bytes that the server has allocated."""
        return float(self._info("memory")["used_memory"])

    def _cpu_seconds(self) -> float:
        info = self._info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def _info(self, section: str) -> Mapping[str, Any]:
        with self.db.translated_errors():
            found: Mapping[str, Any] = self.db.client.info(section)
            return found


@contextmanager
def open_target(kind: str, url: str | None, folder: Path) -> Iterator[Target]:
    """Yield our own server of this kind, or the one at `url`, which is emptied at the end."""
    if url is None:
        with servers.running(kind, folder / "server") as own:
            target = Target(own.url)
            yield target
            target.db.close()
        return
    target = Target(url)
    target.refuse_if_used()
    try:
        yield target
    finally:
        target.empty()
        target.db.close()
