"""What the processes of an installation use: memory, connections, file handles, threads."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bound:
    """Growth of the second half up to `floor`, or up to this share of the value, is no leak."""

    floor: float
    share: float


BOUNDS: Mapping[str, Bound] = {
    "memory": Bound(floor=16, share=0.16),
    "connections": Bound(floor=8, share=0.2),
    "files": Bound(floor=12, share=0.2),
    "threads": Bound(floor=8, share=0.2),
}
"""Resource → bound. Memory is in MiB.

A leak of one connection, file or thread for each VM, request or scrape is hundreds in five minutes, and a leak of 20
KiB for each VM is 18 MiB. A thread pool that still fills, or an allocator that takes one more arena, stays below. The
bounds of an hour are the same, so it finds a leak of a sixth of that.
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of a process with its children."""

    memory: float
    connections: int
    files: int
    threads: int


def measure(pid: int) -> Usage | None:
    """Return the usage of a process with its children; None if it has ended.

    Memory is what would be free if the process ended (USS), in MiB: pages that children share with it count once.
    """
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    usages = list(_each(family))
    return Usage(
        memory=sum(usage.memory for usage in usages),
        connections=sum(usage.connections for usage in usages),
        files=sum(usage.files for usage in usages),
        threads=sum(usage.threads for usage in usages),
    )


def _each(family: list[psutil.Process]) -> Iterator[Usage]:
    for process in family:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # a child that has just been replaced
            connections = process.net_connections(kind="tcp")
            yield Usage(
                memory=process.memory_full_info().uss / MIB,
                connections=sum(one.status == psutil.CONN_ESTABLISHED for one in connections),
                files=process.num_fds(),
                threads=process.num_threads(),
            )
