"""All hosts of a section: where a VM is, and on which host a new one is made."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import libvirt

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.libvirt import domains
from vmpooler_tasks.providers.libvirt.connection import Host
from vmpooler_tasks.providers.libvirt.definitions import Mark
from vmpooler_tasks.providers.libvirt.domains import DomainView
from vmpooler_tasks.providers.libvirt.options import LibvirtOptions
from vmpooler_tasks.providers.protocol import PoolSpec

KIB_PER_MIB = 1024

ACTIVE = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
"""Of domains that run. One that is busy, such as with a snapshot, keeps nobody waiting."""


class Found(NamedTuple):
    """A domain that was found: its host, and what is known of it."""

    host: Host
    view: DomainView


class Hosts:
    """The hosts. Threads may share them.

    Each query goes to all of them, and fails if one does not reply: a VM may be there, and a second one must not be
    made. A VM that is being made counts before it runs, so that a hundred clones do not all choose the same host.
    """

    def __init__(self, options: LibvirtOptions) -> None:
        self.all = [Host(name, uri, options) for name, uri in options.uris().items()]
        self._sources = options.address_sources
        self._lock = threading.Lock()
        self._reserved_kib: Counter[str] = Counter()

    def find(self, vm: str, *, with_address: bool = False) -> Found | None:
        """Return the domain of this name, whoever made it. Query its address only if that is wanted."""
        sources = self._sources if with_address else ()
        for host in self.all:
            view = host.call(lambda connection: domains.read_view(connection, vm, sources), vm=vm)
            if view:
                return Found(host, view)
        return None

    def find_in_pool(self, pool: PoolSpec, vm: str, *, with_address: bool = False) -> Found | None:
        """Return the domain of this name, if its metadata says that it belongs to the pool."""
        found = self.find(vm, with_address=with_address)
        return found if found and found.view.mark and found.view.mark.pool == pool.name else None

    def read_marks(self) -> list[tuple[str, Mark]]:
        """Return the name and the mark of each domain that has one."""
        return [found for host in self.all for found in host.call(domains.read_marks)]

    def allowed_for(self, pool: PoolSpec) -> list[Host]:
        """Return the hosts on which the pool's VMs are made: the one that `clone_target` names, else all.

        Raise PermanentProviderError if there is no such host.
        """
        if not pool.clone_target:
            return self.all
        chosen = [host for host in self.all if host.name == pool.clone_target]
        if not chosen:
            names = ", ".join(host.name for host in self.all)
            raise PermanentProviderError(f"clone_target {pool.clone_target} is no host of this provider ({names})")
        return chosen

    @contextmanager
    def reserve(self, hosts: Sequence[Host], memory_kib: int) -> Iterator[Host]:
        """Yield the host with the most free memory, and keep this much of it reserved until the end."""
        free = {host.name: host.call(free_memory_kib) for host in hosts} if len(hosts) > 1 else Counter[str]()
        with self._lock:
            chosen = max(hosts, key=lambda host: free[host.name] - self._reserved_kib[host.name])
            self._reserved_kib[chosen.name] += memory_kib
        try:
            yield chosen
        finally:
            with self._lock:
                self._reserved_kib[chosen.name] -= memory_kib

    def close(self) -> None:
        for host in self.all:
            host.close()


def free_memory_kib(connection: Any) -> int:
    """Return the free memory of the host: as it reports it, but not more than its running domains leave of it.

    A VM that has just started uses little of its memory, and will use more.
    """
    total_kib = connection.getInfo()[1] * KIB_PER_MIB
    running = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BALLOON, ACTIVE)
    left_kib = int(total_kib - sum(_memory_kib(domain, stats) for domain, stats in running))
    with suppress(libvirt.libvirtError):  # the driver does not report it
        stats = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        return min(left_kib, int(stats["free"] + stats.get("buffers", 0) + stats.get("cached", 0)))
    return left_kib


def _memory_kib(domain: Any, stats: Mapping[str, Any]) -> int:
    if (maximum := stats.get("balloon.maximum")) is not None:
        return int(maximum)
    with suppress(libvirt.libvirtError):  # it has just been destroyed
        return int(domain.info()[1])  # the statistics of some drivers lack it
    return 0
