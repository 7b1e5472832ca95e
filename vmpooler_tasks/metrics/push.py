"""Send gauges to StatsD and Graphite in threads of their own, so that a health check never waits and never fails.

Without a client library: those on PyPI resolve the server's name and send in the caller's thread.
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
from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.metrics import HealthMetrics
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.metrics")

TIMEOUT_SECONDS = 3.0
"""For the connection, and again for all data that is sent over it."""

DATAGRAM_BYTES = 1400
"""A datagram of this size fits into one frame of a usual network."""

BURST = 32
BURST_PAUSE_SECONDS = 0.002
"""A server's socket holds about a hundred datagrams until they are read."""

WARNING_INTERVAL_SECONDS = 300.0

Values = Mapping[str, int]


class Server(Protocol):
    """A metrics server; `address` is a text for people."""

    @property
    def address(self) -> str: ...

    @property
    def prefix(self) -> str: ...

    def send(self, values: Values, epoch: float) -> None:
        """Send the gauges. Raises OSError, or UnicodeError for an invalid host name."""


@dataclass(frozen=True, slots=True)
class Statsd:
    """A StatsD server, which takes datagrams over UDP."""

    host: str
    port: int
    prefix: str

    @property
    def address(self) -> str:
        return f"StatsD at {self.host}:{self.port}"

    def send(self, values: Values, epoch: float) -> None:
        del epoch  # StatsD takes the time of arrival
        # IPv4 first: most servers listen on nothing else, and a lost datagram is not reported.
        found = sorted(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM), key=_is_not_ipv4)
        family, kind, protocol, _, target = found[0]
        with socket.socket(family, kind, protocol) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            for number, datagram in enumerate(datagrams(values), 1):
                connection.sendto(datagram, target)
                if number % BURST == 0:
                    time.sleep(BURST_PAUSE_SECONDS)

    def check(self) -> str:
        """Return, as a text, whether the server can be reached; send nothing. Raises as `send` does."""
        socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)
        return f"{self.address}: its name resolves (UDP does not report whether data arrives)"


def _is_not_ipv4(address: tuple[Any, ...]) -> bool:
    return address[0] is not socket.AF_INET


def datagrams(values: Values) -> Iterator[bytes]:
    """Return datagrams of gauges, each with as many as it has room for."""
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
    """A Graphite server, which takes lines over TCP."""

    host: str
    port: int
    prefix: str

    @property
    def address(self) -> str:
        return f"Graphite at {self.host}:{self.port}"

    def send(self, values: Values, epoch: float) -> None:
        text = "".join(f"{name} {value} {int(epoch)}\n" for name, value in values.items())
        with socket.create_connection((self.host, self.port), TIMEOUT_SECONDS) as connection:
            connection.sendall(text.encode())  # the timeout is for all of the data
            connection.shutdown(socket.SHUT_WR)

    def check(self) -> str:
        with socket.create_connection((self.host, self.port), TIMEOUT_SECONDS):
            return f"{self.address} accepts connections"


class MetricsSender:
    """One server and the thread that sends to it, which starts with the first batch.

    Metrics that were not sent in time are dropped; the next check sends new ones. A forked child makes its own sender.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._warnings = Throttle(WARNING_INTERVAL_SECONDS)
        self._batch: tuple[Values, float] | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, values: Values, epoch: float) -> None:
        """Replace the batch that waits to be sent. It neither waits nor fails."""
        with self._changed:  # held for moments only, never while a batch is sent
            self._batch = (values, epoch)
            self._changed.notify()
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads
            self._warn(error)
        else:
            self._thread = thread

    def close(self, seconds: float) -> None:
        """Wait at most so long until the last batch is sent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            values, epoch = batch
            try:
                self.server.send(values, epoch)
            except (OSError, UnicodeError) as error:
                self._warn(error)
            else:
                _log.info("[*] [metrics] Sent %d metrics to %s", len(values), self.server.address)

    def _next_batch(self) -> tuple[Values, float] | None:
        """Wait for a batch and take it; return None once the sender is closed and has none."""
        with self._changed:
            self._changed.wait_for(lambda: self._batch is not None or self._closed)
            batch, self._batch = self._batch, None
            return batch

    def _warn(self, error: Exception) -> None:
        if self._warnings.acquire():
            why = on_one_line(str(error) or type(error).__name__)
            _log.warning("[!] [metrics] Could not send metrics to %s: %s", self.server.address, why)


class MetricsPublisher:
    """All metrics servers that the configuration names. `publish` takes the result of a health check."""

    def __init__(self, settings: Settings) -> None:
        self._senders = [MetricsSender(server) for server in servers(settings)]

    def publish(self, metrics: HealthMetrics, assessment: Assessment, epoch: float) -> None:
        """Submit the metrics to each server. It neither waits nor fails."""
        for sender in self._senders:
            sender.submit(dotted(metrics, assessment, sender.server.prefix), epoch)

    def close(self, seconds: float) -> None:
        """Wait at most so long, in all, until the last metrics are sent."""
        deadline = time.monotonic() + seconds
        for sender in self._senders:
            sender.close(max(deadline - time.monotonic(), 0))


def servers(settings: Settings) -> Sequence[Statsd | Graphite]:
    """Return the metrics servers that the configuration names."""
    statsd, graphite = settings.statsd, settings.graphite
    found: list[Statsd | Graphite] = []
    if statsd.server:
        found.append(Statsd(statsd.server, statsd.port, statsd.prefix))
    if graphite.server:
        found.append(Graphite(graphite.server, graphite.port, graphite.prefix))
    return found
