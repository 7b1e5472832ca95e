"""Strays: VMs that a provider has and that are in no queue of any pool. docs/vmpooler-behaviour.md."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import redis

from vmpooler_tasks.model.names import INSPECTED_QUEUES, Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.vmpooler import queues

MOVE_PAGE = 500
"""VMs that one call of a script moves."""

MAX_LOOKUPS = 30_000
"""Pairs of VM and queue that one call of guards/discover.lua compares: a few milliseconds for the server."""


def other_queues(db: Database, pool: str, configured: Iterable[str]) -> list[bytes]:
    """Return the keys of the queues of all other pools: those `configured`, registered or recorded as managed.

    Raise WrongTypeError.
    """
    with db.translated_errors(keys.POOLS, keys.MANAGED_POOLS):
        pipe = db.client.pipeline(transaction=False)
        pipe.smembers(keys.POOLS)
        pipe.hkeys(keys.MANAGED_POOLS)
        registered, recorded = pipe.execute()
    names = {*(name.encode() for name in configured), *registered, *recorded} - {pool.encode()}
    return [key for name in sorted(names) for key in keys.queues_of(name)]


def find_unqueued(db: Database, vms: Collection[bytes], queue_keys: Sequence[bytes]) -> set[bytes] | None:
    """Return those of the VMs that are in none of these queues; None if a queue cannot be read: then nobody knows."""
    found = set(vms)
    if not found or not queue_keys:
        return found
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for key in queue_keys:
            pipe.scard(key)
        sizes = pipe.execute(raise_on_error=False)
    if any(isinstance(size, redis.ResponseError) for size in sizes):
        return None
    for key, size in zip(queue_keys, sizes, strict=True):
        if size:
            found.difference_update(_members(db, key, size, sorted(found)))
    return found


def _members(db: Database, key: bytes, size: int, vms: Sequence[bytes]) -> Iterator[bytes]:
    """Yield those of the VMs that are in the queue; other members may come with them. The cheaper way of two."""
    if size <= len(vms):
        for page in queues.read_names(db, key):
            yield from page
        return
    for chunk in chunks(vms):
        flags = db.call("SMISMEMBER", key, *chunk)
        yield from (vm for vm, flag in zip(chunk, flags, strict=True) if flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Which strays of a pool may become discovered. `mark`: of its inventory, as `brakes.start_inventory` returned it.

    `seen_before`: the epoch before which a stray was seen for the first time. `others`: the queues of all other pools.
    """

    pool: str
    mark: str
    seen_before: float
    others: Sequence[bytes]


def discover(db: Database, found: Discovery, vms: Sequence[bytes]) -> list[str]:
    """Add those of these VMs to discovered that are in no queue of any pool now. Return them.

    None is added if Redis was emptied since. While the pool's brake is engaged, only those are added whose destruction
    has started.
    """
    own = [keys.queue(queue, found.pool) for queue in INSPECTED_QUEUES if queue is not Queue.DISCOVERED]
    guards = [keys.BRAKES, keys.INVENTORIES, keys.first_seen(Queue.DISCOVERED, found.pool)]
    all_keys = [*guards, keys.queue(Queue.DISCOVERED, found.pool), *own, *found.others]
    page_size = min(MOVE_PAGE, max(1, MAX_LOOKUPS // len(all_keys)))
    added: list[bytes] = []
    for page in chunks(vms, page_size):
        words = [found.pool, found.mark.partition(" ")[2], repr(found.seen_before), keys.VM_PREFIX]
        added += db.run("guards/discover", all_keys, [*words, *page])
    return [vm.decode(errors="backslashreplace") for vm in added]


def complete_discovered(db: Database, pool: str, vms: Sequence[bytes]) -> list[str]:
    """Move these discovered VMs of the pool to completed. Return those that were moved.

    While the pool's brake is engaged, only those whose destruction has started are moved.
    """
    others = [queue for queue in INSPECTED_QUEUES if queue not in (Queue.DISCOVERED, Queue.COMPLETED)]
    own = [keys.queue(queue, pool) for queue in (Queue.DISCOVERED, Queue.COMPLETED, *others)]
    moved: list[bytes] = []
    for page in chunks(vms, MOVE_PAGE):
        moved += db.run("guards/complete_discovered", [keys.BRAKES, *own], [pool, keys.VM_PREFIX, *page])
    return [vm.decode(errors="backslashreplace") for vm in moved]
