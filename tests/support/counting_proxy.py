"""A line to a server that counts round trips: how often the client has to speak before it hears more."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

GLANCE = 0.1


class CountingProxy:
    """Give its `port` to a client instead of the server's. `sent`: what the client said."""

    def __init__(self, line: socket.socket, target: tuple[str, int]) -> None:
        self._line, self._target = line, target
        self.port: int = line.getsockname()[1]
        self.round_trips = 0
        self.sent = bytearray()
        self.closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        self._line.settimeout(GLANCE)
        while not self.closed:
            try:
                client, _ = self._line.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            is_asking = False
            while not self.closed:
                for line in select.select([client, server], [], [], GLANCE)[0]:
                    data = line.recv(1 << 20)
                    if not data:
                        return
                    if line is client:
                        self.round_trips += not is_asking
                        self.sent += data
                        server.sendall(data)
                    else:
                        client.sendall(data)
                    is_asking = line is client


@contextmanager
def counting(port: int, host: str = "127.0.0.1") -> Iterator[CountingProxy]:
    with socket.create_server(("127.0.0.1", 0)) as line:
        proxy = CountingProxy(line, (host, port))
        yield proxy
        proxy.closed = True
