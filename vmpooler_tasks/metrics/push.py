"""Sends gauges to StatsD and Graphite, beside the work: whoever hands them over never waits, and never fails.

The standard library does: the clients on PyPI resolve the server's name where they are made, and send where they are
called.
"""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vmpooler_tasks.config import Settings
from vmpooler_tasks.metrics.dotted import dotted
from vmpooler_tasks.model.health.status import Assessment, Metrics
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.metrics")

TIMEOUT_SECONDS = 3.0
"""For the connection, and for everything that goes over it."""

DATAGRAM_BYTES = 1400
"""Fits into one frame of any usual network."""

BURST = 32
BURST_PAUSE_SECONDS = 0.002
"""A server's socket holds about a hundred datagrams until they are read."""

TOLD_EVERY = 300.0

Values = Mapping[str, int]


class Server(Protocol):
    """A metrics server."""

    @property
    def address(self) -> str: ...

    @property
    def prefix(self) -> str: ...

    def send(self, values: Values, epoch: float) -> None:
        """Raises OSError or UnicodeError (a host name that is none)."""


@dataclass(frozen=True, slots=True)
class Statsd:
    host: str
    port: int
    prefix: str

    @property
    def address(self) -> str:
        return f"StatsD at {self.host}:{self.port}"

    def send(self, values: Values, epoch: float) -> None:
        del epoch  # StatsD takes the time of arrival
        # IPv4 first: most servers listen on nothing else, and nobody says so when a datagram is lost.
        found = sorted(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM), key=_is_not_ipv4)
        family, kind, protocol, _, target = found[0]
        with socket.socket(family, kind, protocol) as line:
            line.settimeout(TIMEOUT_SECONDS)
            for number, datagram in enumerate(datagrams(values), 1):
                line.sendto(datagram, target)
                if number % BURST == 0:
                    time.sleep(BURST_PAUSE_SECONDS)

    def look(self) -> str:
        """How far it can be reached, in words; nothing is sent. Raises as `send` does."""
        socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)
        return f"{self.address} is sent to (UDP never says whether it arrives)"


def _is_not_ipv4(address: tuple[Any, ...]) -> bool:
    return address[0] is not socket.AF_INET


def datagrams(values: Values) -> Iterator[bytes]:
    """Gauges, as many to a datagram as fit in."""
    held: list[bytes] = []
    size = 0
    for name, value in values.items():
        gauge = f"{name}:{value}|g".encode()
        if held and size + len(gauge) > DATAGRAM_BYTES:
            yield b"\n".join(held)
            held, size = [], 0
        held.append(gauge)
        size += len(gauge) + 1
    if held:
        yield b"\n".join(held)


@dataclass(frozen=True, slots=True)
class Graphite:
    host: str
    port: int
    prefix: str

    @property
    def address(self) -> str:
        return f"Graphite at {self.host}:{self.port}"

    def send(self, values: Values, epoch: float) -> None:
        text = "".join(f"{name} {value} {int(epoch)}\n" for name, value in values.items())
        with socket.create_connection((self.host, self.port), TIMEOUT_SECONDS) as line:
            line.sendall(text.encode())  # the timeout is that of the whole
            line.shutdown(socket.SHUT_WR)

    def look(self) -> str:
        with socket.create_connection((self.host, self.port), TIMEOUT_SECONDS):
            return f"{self.address} answers"


class Courier:
    """One server's thread, which starts with the first errand. What it had no time for is replaced by what is newer.

    It lives in the process that made it: a forked child makes its own.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._saying = Throttle(TOLD_EVERY)
        self._errand: tuple[Values, float] | None = None
        self._ended = False
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    def hand_over(self, values: Values, epoch: float) -> None:
        """Neither waits nor fails."""
        with self._news:  # held for moments only, never while something is sent
            self._errand = (values, epoch)
            self._news.notify()
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads
            self._complain(error)
        else:
            self._thread = thread

    def end(self, seconds: float) -> None:
        """Waits so long for what is still to be sent."""
        with self._news:
            self._ended = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while (errand := self._next()) is not None:
            values, epoch = errand
            try:
                self.server.send(values, epoch)
            except (OSError, UnicodeError) as error:
                self._complain(error)
            else:
                _log.info("[*] [metrics] Sent %d metrics to %s", len(values), self.server.address)

    def _next(self) -> tuple[Values, float] | None:
        """Waits for an errand; None if there will be none."""
        with self._news:
            self._news.wait_for(lambda: self._errand is not None or self._ended)
            errand, self._errand = self._errand, None
            return errand

    def _complain(self, error: Exception) -> None:
        if self._saying.acquire():
            why = on_one_line(str(error) or type(error).__name__)
            _log.warning("[!] [metrics] %s does not get its metrics: %s", self.server.address, why)


class Post:
    """Every server that the configuration names. `publish` is what a health check tells of what it found."""

    def __init__(self, settings: Settings) -> None:
        self._couriers = [Courier(server) for server in servers(settings)]

    def publish(self, metrics: Metrics, verdict: Assessment, epoch: float) -> None:
        for courier in self._couriers:
            courier.hand_over(dotted(metrics, verdict, courier.server.prefix), epoch)

    def end(self, seconds: float) -> None:
        """Waits so long, in all, for what is still to be sent."""
        deadline = time.monotonic() + seconds
        for courier in self._couriers:
            courier.end(max(deadline - time.monotonic(), 0))


def servers(settings: Settings) -> Sequence[Statsd | Graphite]:
    statsd, graphite = settings.statsd, settings.graphite
    found: list[Statsd | Graphite] = []
    if statsd.server:
        found.append(Statsd(statsd.server, statsd.port, statsd.prefix))
    if graphite.server:
        found.append(Graphite(graphite.server, graphite.port, graphite.prefix))
    return found
