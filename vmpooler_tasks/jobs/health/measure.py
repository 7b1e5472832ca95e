"""Measure the queues for a health check. It only reads."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.health.double_queues import QueuedNames, find_double_queued
from vmpooler_tasks.model.health.assessment import DoubleQueued
from vmpooler_tasks.model.health.metrics import HealthMetrics, PoolMetrics, QueueMetrics, measure_queue
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, readable
from vmpooler_tasks.model.staleness import ORPHAN_FIELD, TIMESTAMP_FIELD
from vmpooler_tasks.model.timestamps import MAX_AHEAD, moment, parse_time
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.deadletters import read as dead_letters
from vmpooler_tasks.store.health import snapshot
from vmpooler_tasks.store.health.snapshot import PoolSnapshot
from vmpooler_tasks.store.health.task_counters import read_task_counters
from vmpooler_tasks.store.key_types import typed_keys
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.wrong_keys import WrongKey, find_wrong_keys
from vmpooler_tasks.store.vmpooler import queues

MAX_CLASSES = 20
OTHER = "other"

REPLACED_BY_CHECKS = (keys.HEALTH, keys.HEALTH_STATE)
"""A check writes these anew, whatever type they have."""

AGED_QUEUES = (Queue.PENDING, Queue.READY)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a check measured. `pools`: each pool as Redis holds it. `sizes`: the VMs that each shall have ready.

    `unreadable`: names of VMPooler's keys that are of another type than expected, or hold other data. `wrong_keys`: our
    own keys of another type. `unconfigured`: pools with queues that are neither measured nor registered.
    `double_queued`: VMs in more than one queue.
    """

    metrics: HealthMetrics
    pools: Mapping[str, PoolSnapshot]
    sizes: Mapping[str, int]
    unreadable: Sequence[str]
    wrong_keys: Sequence[WrongKey] = ()
    unconfigured: frozenset[str] = frozenset()
    double_queued: Sequence[DoubleQueued] = ()


def measure(db: Database, settings: Settings, now: float) -> Measurement:
    """Measure all queues of the configured pools, or, where none is configured, of those that VMPooler registered."""
    counters = read_task_counters(db)
    walk = _Walk(
        db, now, settings.config.health_thresholds.stuck_vm_age_threshold, unreadable=list(counters.unreadable)
    )
    registered = walk.read_registered_pools()
    configured = {pool.name: pool.size for pool in settings.pools}
    pools = list(configured) or registered
    snapshots, refused = snapshot.read_pools(db, pools)
    if not configured:
        walk.unreadable += [readable(key) for key in map(keys.pool, pools) if key in refused]
    metrics = HealthMetrics(
        pools={pool: walk.measure_pool(pool, found) for pool, found in snapshots.items()},
        dead_letters=walk.count_dead_letters() if settings.config.dlq_enabled else {},
        orphaned_metadata=walk.count_orphans(pools, registered),
        active_clones=counters.active_clones,
        active_ondemand_clones=counters.active_ondemand_clones,
        pending_ondemand_clones=counters.pending_ondemand_clones,
    )
    sizes = {pool: found.size(configured.get(pool)) for pool, found in snapshots.items()}
    wrong = find_wrong_keys(db, typed_keys(snapshots, settings.providers))
    wrong = [one for one in wrong if one.key not in REPLACED_BY_CHECKS]
    foreign = [readable(one.key) for one in wrong if not one.is_own]
    walk.unreadable += [name for name in foreign if name not in walk.unreadable]
    own = [one for one in wrong if one.is_own]
    return Measurement(
        metrics, snapshots, sizes, walk.unreadable, own, frozenset(walk.unconfigured), walk.double_queued
    )


def count_error_classes(db: Database, sizes: Mapping[DeadLetterQueue, int]) -> dict[str, dict[str, int]]:
    """Return queue → class of error → dead letters: the most frequent classes, and the others together as `other`."""
    found: dict[str, dict[str, int]] = {}
    for queue in (queue for queue, size in sizes.items() if size):
        with suppress(WrongTypeError):  # the key was replaced since it was measured
            found[str(queue)] = _most_frequent(dead_letters.count_classes(db, queue))
    return found


def _most_frequent(counts: Counter[str]) -> dict[str, int]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = dict(ranked[:MAX_CLASSES])
    rest = sum(count for _, count in ranked[MAX_CLASSES:])
    return {**kept, OTHER: kept.get(OTHER, 0) + rest} if rest else kept


@dataclass(slots=True)
class _Walk:
    """One walk through all queues. `queued` has every name met, `double_queued` the VMs in more than one queue.

    `has_unreadable_queue`: a queue of a known pool could not be read, and so any VM may be in it. `unconfigured`: other
    pools that have queues.
    """

    db: Database
    now: float
    stuck_after: float
    unreadable: list[str]
    queued: QueuedNames = field(default_factory=QueuedNames)
    double_queued: Sequence[DoubleQueued] = ()
    has_unreadable_queue: bool = False
    unconfigured: set[str] = field(default_factory=set)

    def read_registered_pools(self) -> list[str]:
        try:
            names, not_utf8 = queues.registered_pools(self.db)
        except WrongTypeError:
            self.unreadable.append(readable(keys.POOLS))
            return []
        self.unreadable += [f"{readable(keys.POOLS)}: {readable(raw)}" for raw in not_utf8]
        return names

    def measure_pool(self, pool: str, found: PoolSnapshot) -> PoolMetrics:
        pending, ready = (self._measure_queue(queue, pool) for queue in AGED_QUEUES)
        if Queue.COMPLETED not in found.vms:
            self.unreadable.append(readable(keys.queue(Queue.COMPLETED, pool)))
        return PoolMetrics(pending, ready, found.vms.get(Queue.COMPLETED, 0))

    def _measure_queue(self, queue: Queue, pool: str) -> QueueMetrics:
        instant, ages, met = moment(self.now), list[float](), set[int]()
        horizon = instant + MAX_AHEAD  # a later timestamp has no age, as in a purge
        try:
            for names, stamps in queues.read_pages(self.db, queue, pool, TIMESTAMP_FIELD[queue]):
                for name, stamp in zip(names, stamps, strict=True):
                    known = hash(name)
                    if known in met:
                        continue
                    met.add(known)
                    if isinstance(stamp, bytes) and (time := parse_time(stamp)) is not None and time <= horizon:
                        ages.append((instant - time).total_seconds())
        except WrongTypeError:
            self.has_unreadable_queue = True
            self._add_unreadable(keys.queue(queue, pool))
        self.queued.add(keys.queue(queue, pool), met)
        return measure_queue(len(met), ages, self.stuck_after if queue is Queue.PENDING else None)

    def _add_unreadable(self, key: bytes) -> None:
        if readable(key) not in self.unreadable:
            self.unreadable.append(readable(key))

    def count_dead_letters(self) -> dict[DeadLetterQueue, int]:
        sizes: dict[DeadLetterQueue, int] = {}
        for queue in DeadLetterQueue:
            size = dead_letters.readable_size(self.db, queue)
            if size is None:
                self.unreadable.append(readable(keys.dead_letters(queue)))
            else:
                sizes[queue] = size
        return sizes

    def count_orphans(self, measured: Iterable[str], registered: Iterable[str]) -> int:
        """Count metadata of any age that is in no queue of any pool and does not expire, as VMPooler counts it.

        Return 0 while a queue of these pools cannot be read: its VMs would count as orphans.
        """
        walked = {keys.queue(queue, pool) for pool in measured for queue in AGED_QUEUES}
        known = {key for pool in {*measured, *registered} for key in keys.queues(pool)}
        for key in sorted(known - walked):
            self.queued.add(key, {hash(name) for names in self._names(key) for name in names})
        self.has_unreadable_queue |= any(readable(key) in self.unreadable for key in known)
        unconfigured: set[bytes] = set()  # queues of pools that are no longer configured
        orphans: set[bytes] = set()
        waiting: list[bytes] = []
        for vms, queue_keys in queues.scan_keyspace(self.db):
            unconfigured.update(set(queue_keys) - known)
            waiting += [vm for vm in vms if hash(vm) not in self.queued.hashes]
            if len(waiting) >= queues.PAGE:
                orphans.update(self._unexpiring(waiting))
                waiting = []
        orphans.update(self._unexpiring(waiting))
        self.unconfigured.update(place[1] for key in unconfigured if (place := keys.place_of(key)))
        for key in unconfigured:
            met = set[int]()
            for names in self._names(key):
                orphans.difference_update(names)
                met.update(map(hash, names))
            self.queued.add(key, met)
        self.double_queued = find_double_queued(self.db, self.queued, sorted(known | unconfigured))
        return 0 if self.has_unreadable_queue else len(orphans)

    def _unexpiring(self, vms: Sequence[bytes]) -> Iterator[bytes]:
        for batch in chunks(vms, queues.PAGE):
            for vm, _ in queues.query_unexpiring(self.db, batch, ORPHAN_FIELD).read():
                yield vm

    def _names(self, key: bytes) -> Iterator[list[bytes]]:
        try:
            yield from queues.read_names(self.db, key)
        except WrongTypeError:
            self._add_unreadable(key)
