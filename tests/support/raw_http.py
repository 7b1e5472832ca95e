"""HTTP on a bare socket: what no HTTP client would send, and what comes back."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import urlsplit

DEADLINE = 60
"""Seconds until a test that waits for a response fails."""


@dataclass(frozen=True, slots=True)
class RawResponse:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class RawClient:
    """A connection. What is sent and received is not checked, except that responses have a length."""

    def __init__(self, address: str) -> None:
        where = urlsplit(address)
        self.socket = socket.create_connection((where.hostname or "", where.port or 0), DEADLINE)
        self._reader: BinaryIO = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def response(self, *, is_head: bool = False) -> RawResponse | None:
        """Return the next response; None if the server has ended the connection."""
        try:
            line = self._reader.readline()
            if not line:
                return None
            headers = dict(self._headers())
            length = 0 if is_head else int(headers.get("content-length", 0))
            return RawResponse(int(line.split()[1]), headers, self._reader.read(length))
        except ConnectionResetError:
            return None

    def take(self, size: int) -> bool:
        """Read so many bytes, and return whether they came."""
        return len(self._reader.read(size)) == size

    def is_ended(self) -> bool:
        """Wait until the server ends the connection, and return False if it sends something before."""
        return self.response() is None

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def _headers(self) -> Iterator[tuple[str, str]]:
        while line := self._reader.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            yield name.lower(), value.strip()


@contextmanager
def connection(address: str) -> Iterator[RawClient]:
    client = RawClient(address)
    try:
        yield client
    finally:
        client.close()
