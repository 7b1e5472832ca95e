"""Metrics servers for the tests: some listen, some hang, some are gone."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.support.processes import until

LOOPBACK = "127.0.0.1"
GLANCE = 0.1
"""Seconds between two checks of a listener whether it is closed."""

NO_SUCH_HOST = "metrics.invalid"


class Statsd:
    """A server that keeps the datagrams that arrive."""

    def __init__(self, line: socket.socket) -> None:
        line.settimeout(GLANCE)
        self._line = line
        self.port: int = line.getsockname()[1]
        self.datagrams: list[bytes] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self.datagrams.append(self._line.recv(65536))
            except TimeoutError:
                continue
            except OSError:  # closed
                return

    @property
    def lines(self) -> list[str]:
        return [line for datagram in self.datagrams for line in datagram.decode().split("\n")]

    def gets(self, last: str) -> list[str]:
        """Wait for this line, and return everything that arrived."""
        until(lambda: last in self.lines, lambda: f"{last!r} arrives; there is {self.lines}")
        return self.lines


class Graphite:
    """A server that keeps the whole text of each connection."""

    def __init__(self, line: socket.socket) -> None:
        line.settimeout(GLANCE)
        self._line = line
        self.port: int = line.getsockname()[1]
        self.texts: list[str] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._line.accept()
            except TimeoutError:
                continue
            except OSError:  # closed
                return
            with connection, connection.makefile("rb") as stream:
                self.texts.append(stream.read().decode())

    def gets(self, texts: int = 1) -> list[str]:
        """Wait for this number of texts, and return them."""
        until(lambda: len(self.texts) >= texts, lambda: f"{texts} texts arrive; there is {self.texts}")
        return self.texts[:texts]


@contextmanager
def statsd() -> Iterator[Statsd]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind((LOOPBACK, 0))
        yield Statsd(line)


@contextmanager
def graphite() -> Iterator[Graphite]:
    with socket.create_server((LOOPBACK, 0)) as line:
        yield Graphite(line)


@contextmanager
def deaf() -> Iterator[int]:
    """Yield the port of a server with a full queue: no connection to it succeeds."""
    with ExitStack() as stack:
        line = stack.enter_context(socket.create_server((LOOPBACK, 0), backlog=0))
        port: int = line.getsockname()[1]
        while True:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(GLANCE)
            try:
                waiting.connect((LOOPBACK, port))
            except TimeoutError:
                break
        yield port


@contextmanager
def idle() -> Iterator[int]:
    """Yield the port of a server that accepts a connection, and then reads nothing."""
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.bind((LOOPBACK, 0))
        line.listen()
        yield line.getsockname()[1]


def closed() -> int:
    """Return a port without a listener."""
    with socket.create_server((LOOPBACK, 0)) as line:
        port: int = line.getsockname()[1]
        return port
