"""A proxy in front of a server that counts round trips: how often the client sends commands and waits for replies."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmpooler_tasks.store import Database

GLANCE = 0.1
QUIET = 0.02
"""The client has sent all of a pipeline once it has sent nothing for this long."""


class CountingProxy:
    """Give its `port` to a client instead of the server's. `sent`: the bytes that the client sent.

    A pipeline of many commands is sent in pieces, and the server replies to the first before it has the last:
    `whole_pipelines` forwards a pipeline as a whole, so that it counts as one round trip. It takes `QUIET` longer.
    """

    def __init__(self, line: socket.socket, target: tuple[str, int], *, whole_pipelines: bool) -> None:
        self._line, self._target, self._whole_pipelines = line, target, whole_pipelines
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
                        while self._whole_pipelines and select.select([client], [], [], QUIET)[0]:
                            more = client.recv(1 << 20)
                            if not more:
                                break
                            data += more
                        self.round_trips += not is_asking
                        self.sent += data
                        server.sendall(data)
                    else:
                        client.sendall(data)
                    is_asking = line is client


@contextmanager
def counting(port: int, host: str = "127.0.0.1", *, whole_pipelines: bool = False) -> Iterator[CountingProxy]:
    with socket.create_server(("127.0.0.1", 0)) as line:
        proxy = CountingProxy(line, (host, port), whole_pipelines=whole_pipelines)
        yield proxy
        proxy.closed = True


def round_trips(port: int, work: Callable[[Database], object]) -> int:
    """Return how many round trips the work makes. Do it before, since a connection says hello, and scripts are sent."""
    with counting(port, whole_pipelines=True) as proxy:
        db = Database(f"redis://127.0.0.1:{proxy.port}/0")
        work(db)
        before = proxy.round_trips
        work(db)
        db.close()
        return proxy.round_trips - before
