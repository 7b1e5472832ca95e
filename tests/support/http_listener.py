"""A real HTTP server that keeps what it gets, and responds as a test wishes."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.processes import until
from vmpooler_tasks.local.ports import LOOPBACK


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class HttpListener:
    """`statuses` are the next responses, one each; afterwards every response is 200."""

    port: int
    received: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    location: str = ""
    hold: threading.Event = field(default_factory=threading.Event)
    """While it is clear, no request gets its response. It is set at first."""

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def gets(self, count: int = 1) -> list[Received]:
        """Wait for this number of requests, and return them."""
        until(lambda: len(self.received) >= count, lambda: f"{count} requests arrive; there is {self.received}")
        return self.received[:count]


@contextmanager
def http_listener(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[HttpListener]:
    """Serve on this port of loopback, on any free one by default."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            listener.received.append(Received(self.path, dict(self.headers.items()), json.loads(body)))
            listener.hold.wait(60)
            self.send_response(listener.statuses.pop(0) if listener.statuses else 200)
            if listener.location:
                self.send_header("Location", listener.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that is killed is part of the test
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    listener = HttpListener(server.server_address[1])
    listener.hold.set()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        listener.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
