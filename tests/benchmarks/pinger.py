"""Another client of the same server, as a process of its own: a PING every millisecond, each one timed.

  python -m tests.benchmarks.pinger HOST PORT

On stdin `start`, which is answered by `started`, then `stop`, which is answered by all latencies in milliseconds, as a
JSON list; again and again until stdin ends.
"""

import json
import select
import socket
import sys
import time

PAUSE = 0.001


def main() -> None:
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while sys.stdin.readline():
            sys.stdout.write("started\n")
            sys.stdout.flush()
            latencies = _ping_until_told(line)
            sys.stdin.readline()
            sys.stdout.write(json.dumps(latencies) + "\n")
            sys.stdout.flush()


def _ping_until_told(line: socket.socket) -> list[float]:
    latencies: list[float] = []
    while not latencies or not select.select([sys.stdin], [], [], PAUSE)[0]:
        begun = time.perf_counter()
        line.sendall(b"PING\r\n")
        line.recv(64)
        latencies.append(round((time.perf_counter() - begun) * 1000, 4))
    return latencies


if __name__ == "__main__":
    main()
