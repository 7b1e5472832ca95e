"""Ports for the servers of the tests: no two tests of a run get the same one."""

import fcntl
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vmpooler_tasks.local.ports import LOOPBACK

FIRST = 10_000
PER_WORKER = 1_000
"""Below 32,768, where Linux starts to give ports to outgoing connections: a server that is killed finds its port free
when it starts again."""

WORKERS = 20


def _candidates() -> "itertools.cycle[int]":
    """Return the ports of this process: each worker of pytest-xdist has its own range, and starts anywhere in it.

    The start is random since two runs may share a machine.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    first = FIRST + PER_WORKER * worker
    start = random.randrange(PER_WORKER)
    return itertools.cycle(first + (start + step) % PER_WORKER for step in range(PER_WORKER))


_ports = _candidates()


def free_port() -> int:
    """Return a port on which nothing listens. Each call returns another one."""
    for port in itertools.islice(_ports, PER_WORKER):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return port
    raise RuntimeError("no free port")


@contextmanager
def usual_ports() -> Iterator[None]:
    """Wait until no other test of this machine starts `make run`, and let none start it within the block.

    It looks for free ports first and lets its processes listen on them later: two that start at once would choose the
    same ones.
    """
    with (Path(tempfile.gettempdir()) / "vmpooler-tasks-usual-ports.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
