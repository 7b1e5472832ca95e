"""Send a PING every millisecond from another process, and measure each one.

  python -m tests.benchmarks.pinger HOST PORT

Reads `start` from stdin and writes `started`. Then reads `stop` and writes the latencies (milliseconds) as a JSON list.
Repeats this until stdin ends.
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
            latencies = _ping_until_stopped(line)
            sys.stdin.readline()
            sys.stdout.write(json.dumps(latencies) + "\n")
            sys.stdout.flush()


def _ping_until_stopped(line: socket.socket) -> list[float]:
    latencies: list[float] = []
    while not latencies or not select.select([sys.stdin], [], [], PAUSE)[0]:
        started_at = time.perf_counter()
        line.sendall(b"PING\r\n")
        line.recv(64)
        latencies.append(round((time.perf_counter() - started_at) * 1000, 4))
    return latencies


if __name__ == "__main__":
    main()
