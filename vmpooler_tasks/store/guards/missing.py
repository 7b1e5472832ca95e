"""VMs that their provider does not have: completed or removed under the brake of their pool."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from vmpooler_tasks.model.guards.brake import MIN_HELD, NO_MAX_PERCENT
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.vmpooler.delivered import read_replacement
from vmpooler_tasks.store.vmpooler.queues import FORGET_POOL_AFTER_SECONDS

MISSING = "missing"
"""The name under which missing VMs are remembered, as in `keys.first_seen`."""


class MissingMove(IntEnum):
    """The effect on a missing VM, as the scripts return it."""

    HELD = -1
    """None: the brake of its pool holds it."""

    LEFT_QUEUE = 0
    MOVED = 1
    REPLACED = 2
    """The VM was moved, and the open request that it had been delivered to gets another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingGuard:
    """The guard of one step that acts on a VM because its provider does not have it. See guards/missing.lua."""

    vm: str
    pool: str
    now: float
    max_percent: float

    def keys(self) -> list[bytes]:
        own = (keys.first_seen(MISSING, self.pool), fleet_keys.AUDIT, keys.vm(self.vm.encode()))
        return [keys.BRAKES, keys.INVENTORIES, *own]

    def words(self) -> list[Any]:
        limits: Sequence[Any] = (self.max_percent, NO_MAX_PERCENT, MIN_HELD)
        return [self.pool, repr(self.now), *limits, audit.MAX_ENTRIES, FORGET_POOL_AFTER_SECONDS]


def complete_missing(db: Database, queue: Queue, guard: MissingGuard) -> MissingMove:
    """Move the VM from this queue to completed, unless the brake holds it. Its open request gets another VM."""
    replacement = read_replacement(db, guard.vm.encode(), guard.pool)
    move = db.run(
        "guards/complete_missing",
        [
            *(keys.queue(queue, guard.pool), keys.queue(Queue.COMPLETED, guard.pool)),
            *replacement.keys(),
            *guard.keys(),
        ],
        [guard.vm, *replacement.words(), *guard.words()],
    )
    return MissingMove(move)
