"""Leases on VMs. A worker renews its leases while it works. If it dies, another worker takes the work over."""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

_log = logging.getLogger("vmpooler_tasks.leases")

RENEWALS = 4
"""Renewals in the time of one lease: three may fail."""


@dataclass(eq=False, slots=True)
class Lease:
    """One VM's lease. `lost`: another worker took it over."""

    vm: str
    fence: int
    lost: bool = False


class LeaseRenewer:
    """Renews all leases of a process in one thread, which starts with the first lease. Threads may share it."""

    def __init__(self, db: Database, lease_seconds: float, clock: Clock) -> None:
        self._db, self._seconds, self._clock = db, lease_seconds, clock
        self._held: set[Lease] = set()
        self._lock = threading.Lock()
        self._process: int | None = None

    @contextmanager
    def holding(self, vm: str, fence: int) -> Iterator[Lease]:
        """Renew the lease until the end of the block."""
        lease = Lease(vm, fence)
        with self._lock:
            self._held.add(lease)
            self._start_thread()
        try:
            yield lease
        finally:
            with self._lock:
                self._held.discard(lease)

    def renew(self, lease: Lease) -> bool:
        """Renew the lease now. Return False if another worker took it over."""
        self._renew([lease])
        return not lease.lost

    def _start_thread(self) -> None:
        if self._process != os.getpid():  # a forked child has none of its parent's threads
            self._process = os.getpid()
            threading.Thread(target=self._run, name="leases", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._seconds / RENEWALS):
            with self._lock:
                held = [lease for lease in self._held if not lease.lost]
            if held:
                self._renew(held)

    def _renew(self, held: list[Lease]) -> None:
        try:
            flags = renew(self._db, [(one.vm, one.fence) for one in held], self._clock() + self._seconds)
        except VmpoolerTasksError as error:
            _log.warning("[!] [leases] %d leases could not be renewed: %s", len(held), error)
            return
        for lease, is_held in zip(held, flags, strict=True):
            lease.lost = not is_held


def renew(db: Database, held: Sequence[tuple[str, int]], leased_until: float) -> list[bool]:
    """Renew each (VM, fence) until then. Return for each of them False if another worker took the lease over."""
    flags = db.run(
        "pools/renew_leases",
        [keys.POOL_SLOTS.key, keys.REQUEST_SLOTS.key, keys.DESTROYS, keys.VM_ORDERS],
        [repr(leased_until), keys.WORK_PREFIX, *(word for lease in held for word in lease)],
    )
    return [bool(flag) for flag in flags]
