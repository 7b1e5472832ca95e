"""A socket between a provider and libvirtd, which refuses, stops, or loses a reply."""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DEFINE = frozenset({11, 350})
"""Procedures of libvirt's protocol that define a domain (`src/remote/remote_protocol.x`)."""

NAMES = {16: "info", 265: "metadata", 273: "listAllDomains", 344: "getAllDomainStats"}
"""Procedures that are counted by their names."""

HEADER = struct.Struct(">7I")
"""Length, program, version, procedure, type, serial, status."""


class LibvirtProxy:
    """Forwards each connection to `target`. Its methods say how calls go until they end."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self.target, self._source = path, target, target
        self._flows = threading.Event()
        self._flows.set()
        self._loses = threading.Event()
        self._open: set[socket.socket] = set()
        self.calls: Counter[str] = Counter()
        """Name in `NAMES` → calls so far."""
        self._listen()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Accept no connections, and end those that are open."""
        self.close()
        try:
            yield
        finally:
            self._listen()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Accept connections and forward nothing."""
        self._flows.clear()
        try:
            yield
        finally:
            self._cut()
            self._flows.set()

    @contextmanager
    def losing_the_reply(self) -> Iterator[None]:
        """End the connection instead of forwarding the reply to the next definition of a domain."""
        self._loses.set()
        try:
            yield
        finally:
            assert not self._loses.is_set(), "no domain was defined"

    @contextmanager
    def reading_only(self, target: Path) -> Iterator[None]:
        """Forward to this socket, at which libvirtd lets nobody change anything."""
        self._source = target
        self._cut()
        try:
            yield
        finally:
            self._source = self.target
            self._cut()

    def close(self) -> None:
        self._listener.close()
        self.path.unlink()
        self._cut()

    def _listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._source))
                self._open |= {client, server}
                for pair in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, from_server: bool) -> None:
        with source, suppress(OSError, EOFError):
            while True:
                head = _read(source, HEADER.size)
                length, _, _, procedure, *_ = HEADER.unpack(head)
                body = _read(source, length - HEADER.size)
                self._flows.wait()
                if not from_server:
                    self.calls[NAMES.get(procedure, "")] += 1
                if from_server and procedure in DEFINE and self._loses.is_set():
                    self._loses.clear()
                    break
                target.sendall(head + body)
        self._open.discard(source)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def _cut(self) -> None:
        """End all connections. The threads that read them close them."""
        for one in tuple(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _read(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = source.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
