"""Measures the queues for a health check. Reads only."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.health.status import Metrics, PoolMetrics, QueueMetrics, measure_queue
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, readable
from vmpooler_tasks.model.staleness import ORPHAN_FIELD, TIMESTAMP_FIELD
from vmpooler_tasks.model.timestamps import MAX_AHEAD, moment, parse_time
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.deadletters import read as dead_letters
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.store.health import snapshot
from vmpooler_tasks.store.health.snapshot import PoolSnapshot
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.vmpooler import queues

MOST_CLASSES = 20
OTHER = "other"

AGED_QUEUES = (Queue.PENDING, Queue.READY)


def measure(db: Database, settings: Settings, now: float) -> tuple[Metrics, Mapping[str, int], list[str]]:
    """(metrics, the size that each pool should have, names of the keys that do not hold what they should)."""
    gauges = health_record.read_gauges(db)
    unreadable = list(gauges.unreadable)
    registered = _registered_pools(db, unreadable)
    configured = {pool.name: pool.size for pool in settings.pools}
    pools = list(configured) or registered
    snapshots, refused = snapshot.read_pools(db, pools)
    if not configured:
        unreadable += [readable(key) for key in map(keys.pool, pools) if key in refused]
    queued: set[int] = set()
    stuck_after = settings.config.health_thresholds.stuck_vm_age_threshold
    measured = {
        pool: _measure_pool(db, pool, found, now, stuck_after, queued, unreadable) for pool, found in snapshots.items()
    }
    walked = {keys.queue(queue, pool) for pool in pools for queue in AGED_QUEUES}
    metrics = Metrics(
        pools=measured,
        dead_letters=_measure_dead_letters(db, unreadable) if settings.config.dlq_enabled else {},
        orphaned_metadata=_count_orphans(db, {*pools, *registered}, walked, queued, unreadable),
        active_clones=gauges.active_clones,
        active_ondemand_clones=gauges.active_ondemand_clones,
        pending_ondemand_clones=gauges.pending_ondemand_clones,
    )
    return metrics, {pool: found.size(configured.get(pool)) for pool, found in snapshots.items()}, unreadable


def _registered_pools(db: Database, unreadable: list[str]) -> list[str]:
    try:
        names, no_names = queues.registered_pools(db)
    except WrongTypeError:
        unreadable.append(readable(keys.POOLS))
        return []
    unreadable += [f"{readable(keys.POOLS)}: {readable(raw)}" for raw in no_names]
    return names


def _measure_pool(
    db: Database,
    pool: str,
    found: PoolSnapshot,
    now: float,
    stuck_after: float,
    queued: set[int],
    unreadable: list[str],
) -> PoolMetrics:
    pending, ready = (
        _measure_queue(db, queue, pool, now, stuck_after if queue is Queue.PENDING else None, queued, unreadable)
        for queue in AGED_QUEUES
    )
    if Queue.COMPLETED not in found.vms:
        unreadable.append(readable(keys.queue(Queue.COMPLETED, pool)))
    return PoolMetrics(pending, ready, found.vms.get(Queue.COMPLETED, 0))


def _measure_queue(
    db: Database,
    queue: Queue,
    pool: str,
    now: float,
    stuck_after: float | None,
    queued: set[int],
    unreadable: list[str],
) -> QueueMetrics:
    instant, ages, met = moment(now), list[float](), set[int]()
    horizon = instant + MAX_AHEAD  # a time beyond tells no age, as in a purge
    try:
        for names, stamps in queues.pages(db, queue, pool, TIMESTAMP_FIELD[queue]):
            for name, stamp in zip(names, stamps, strict=True):
                known = hash(name)
                if known in met:
                    continue
                met.add(known)
                if isinstance(stamp, bytes) and (time := parse_time(stamp)) is not None and time <= horizon:
                    ages.append((instant - time).total_seconds())
    except WrongTypeError:
        unreadable.append(readable(keys.queue(queue, pool)))
    queued |= met
    return measure_queue(len(met), ages, stuck_after)


def _measure_dead_letters(db: Database, unreadable: list[str]) -> dict[DeadLetterQueue, int]:
    sizes: dict[DeadLetterQueue, int] = {}
    for queue in DeadLetterQueue:
        size = dead_letters.readable_size(db, queue)
        if size is None:
            unreadable.append(readable(keys.dead_letters(queue)))
        else:
            sizes[queue] = size
    return sizes


def measure_errors(db: Database, sizes: Mapping[DeadLetterQueue, int]) -> dict[str, dict[str, int]]:
    """Queue → class of error → letters; the most frequent classes, and the rest as `other`."""
    found: dict[str, dict[str, int]] = {}
    for queue in (queue for queue, size in sizes.items() if size):
        with suppress(WrongTypeError):  # since it was measured, somebody has put something else there
            found[str(queue)] = _most_frequent(dead_letters.count_classes(db, queue))
    return found


def _most_frequent(counts: Counter[str]) -> dict[str, int]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = dict(ranked[:MOST_CLASSES])
    rest = sum(count for _, count in ranked[MOST_CLASSES:])
    return {**shown, OTHER: shown.get(OTHER, 0) + rest} if rest else shown


def _count_orphans(
    db: Database, pools: Iterable[str], walked: set[bytes], queued: set[int], unreadable: list[str]
) -> int:
    """Metadata in no queue of any pool that does not expire already; those of any age, as VMPooler counts them."""
    known = {key for pool in pools for key in keys.queues(pool)}
    for key in known - walked:
        for names in _names(db, key, unreadable):
            queued.update(map(hash, names))
    late: set[bytes] = set()  # queues of pools that nobody configures any more
    orphans: set[bytes] = set()
    waiting: list[bytes] = []
    for vms, queue_keys in queues.keyspace(db):
        late.update(set(queue_keys) - known)
        waiting += [vm for vm in vms if hash(vm) not in queued]
        if len(waiting) >= queues.PAGE:
            orphans.update(_unexpiring(db, waiting))
            waiting = []
    orphans.update(_unexpiring(db, waiting))
    for key in late:
        for names in _names(db, key, unreadable):
            orphans.difference_update(names)
    return len(orphans)


def _unexpiring(db: Database, vms: Sequence[bytes]) -> Iterator[bytes]:
    for batch in chunks(vms, queues.PAGE):
        for vm, _ in queues.metadata(db, batch, ORPHAN_FIELD).unexpiring(batch):
            yield vm


def _names(db: Database, key: bytes, unreadable: list[str]) -> Iterator[list[bytes]]:
    try:
        yield from queues.names(db, key)
    except WrongTypeError:  # such a key holds no VM
        if readable(key) not in unreadable:
            unreadable.append(readable(key))
