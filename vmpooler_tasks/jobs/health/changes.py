"""The facts that change health at once, and whether they changed since the last check.

A check reads whole queues and runs every few minutes. These facts take one round trip, so they are watched all the
time. A new one is a row in WATCHED_FACTS.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.health import pool_facts, work_facts
from vmpooler_tasks.jobs.health.pool_facts import Suspended
from vmpooler_tasks.jobs.health.read import broker_or_own, epoch_of, reasons_seen
from vmpooler_tasks.jobs.health.work_facts import WorkFacts
from vmpooler_tasks.model.guards.brake import Brake
from vmpooler_tasks.model.guards.foreign import ForeignVms
from vmpooler_tasks.model.health.assessment import ALL_EMPTY_GRACE, OVERDUE_INTERVALS, StalledWork
from vmpooler_tasks.model.health.dns_failures import FailingDns
from vmpooler_tasks.model.health.recycling import RecycledPool
from vmpooler_tasks.model.manager_watch import UNWATCHED, ManagerWatch
from vmpooler_tasks.model.names import WORK_QUEUES, Queue, parsed_object, readable
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.store.health import snapshot
from vmpooler_tasks.store.health.record import HealthState, WatchedFacts
from vmpooler_tasks.store.health.snapshot import Snapshot
from vmpooler_tasks.store.key_types import typed_keys
from vmpooler_tasks.store.pools import other_manager
from vmpooler_tasks.store.redis.wrong_keys import SetAsideKey, WrongKey, find_wrong_keys, read_set_aside

SET_ASIDE_REPORTED_SECONDS = 300
"""How long health reports a key of ours that was set aside. Longer than an alert waits before it fires."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What was read of the system at one moment, `now`. `wrong_keys` are of another type than they must have.

    `set_aside`: our own keys that had another type a moment ago.

    `work`: the progress of the pool workers; `stalled`: what of it stands still. `suspended`: by the circuit breaker.
    `recycled`: pools whose ready VMs are recycled again and again. `manager_watch`: the watch for another pool manager.
    `checked`: what the check that reads this leaves for the next one.
    """

    found: Snapshot
    wrong_keys: Sequence[WrongKey]
    set_aside: Sequence[SetAsideKey]
    suspended: Suspended
    work: WorkFacts
    stalled: Sequence[StalledWork]
    recycled: Sequence[RecycledPool]
    manager_watch: ManagerWatch
    settings: Settings
    now: float
    checked: HealthState | None = None

    @property
    def brakes(self) -> list[Brake]:
        """Return the engaged brakes; none where `manage_pools` is off."""
        return list(self.found.brakes.values()) if self.settings.config.manage_pools else []

    @property
    def foreign(self) -> list[ForeignVms]:
        """Return the foreign VMs of each configured pool that has any; none where `manage_pools` is off."""
        configured = self.settings.pools if self.settings.config.manage_pools else ()
        return [self.found.foreign[pool.name] for pool in configured if pool.name in self.found.foreign]

    @property
    def failing_dns(self) -> list[FailingDns]:
        """Return the entries of `:dns_configs:` whose calls fail again and again; none where `manage_pools` is off."""
        written = self.settings.written_dns if self.settings.config.manage_pools else ()
        failing = (self.found.failing_dns.get(name) for name in written)
        return [one for one in failing if one and one.is_reported]

    def as_record(self, checked: HealthState) -> WatchedFacts:
        """Return what a check records of these facts: as they are once its result is recorded."""
        return WatchedFacts(self.settings.digest(), json.dumps(replace(self, checked=checked).digests()))

    def digests(self) -> dict[str, str]:
        """Return fact → digest of its value: digests that are equal mean that the fact did not change."""
        return {name: _digest(read(self)) for name, read in WATCHED_FACTS.items()}


def read_watched(db: Database, settings: Settings, now: float, broker: Database | None = None) -> Watched:
    """Read everything that is watched. `broker` as in `read.broker_or_own`. Raises StoreUnavailableError."""
    found = snapshot.read(
        db,
        pools=[pool.name for pool in settings.pools],
        providers=list(settings.providers),
        queues=WORK_QUEUES,
        broker=broker_or_own(db, settings, broker),
        is_observing=settings.config.observe_only,
    )
    wrong_keys = find_wrong_keys(db, typed_keys((), settings.providers))
    suspended = pool_facts.read_suspended(db, settings, found)
    work = work_facts.read_work(db, settings, health_record.read_state(db).work_expected_since, now)
    stopped = pool_facts.stopped_pools(found.pools, settings, suspended)
    stalled = list(work_facts.stalled_work(db, settings, work, stopped, now))
    recycled = pool_facts.read_recycled(db, settings, found.pools, now)
    replaced = [one for one in read_set_aside(db) if now - one.at < SET_ASIDE_REPORTED_SECONDS]
    manager_watch = _read_manager_watch(db, settings)
    return Watched(found, wrong_keys, replaced, suspended, work, stalled, recycled, manager_watch, settings, now)


def _read_manager_watch(db: Database, settings: Settings) -> ManagerWatch:
    """Return the watch for another pool manager; one that has seen none where `manage_pools` is off."""
    try:
        return other_manager.read_watch(db) if settings.config.manage_pools else UNWATCHED
    except WrongTypeError:  # a reason of its own names the key
        return UNWATCHED


def changed_facts(db: Database, settings: Settings, seen: Watched) -> list[str]:
    """Return the names of the facts that changed since the last check; none before the first check.

    Processes of different configurations see different pools, so each configuration has facts of its own.
    """
    recorded = health_record.read_facts(db)
    if not recorded:
        return []
    before = parsed_object(recorded.get(settings.digest(), "{}"))
    return [name for name, digest in seen.digests().items() if before.get(name) != digest]


def _reasons(seen: Watched) -> Any:
    return sorted(
        (str(reason.code), *sorted(reason.about().items()))
        for reason in reasons_seen(seen.found, seen.settings, seen.now, seen.checked)
    )


def _suspended(seen: Watched) -> Any:
    return [sorted(one.name for one in found) for found in (seen.suspended.providers, seen.suspended.pools)]


def _stalled(seen: Watched) -> Any:
    return sorted((str(work.code), work.pool or "", work.is_everywhere) for work in seen.stalled)


def _recycled(seen: Watched) -> Any:
    return sorted(one.name for one in seen.recycled)


def _other_manager(seen: Watched) -> Any:
    return seen.manager_watch.is_other_seen


def _brakes(seen: Watched) -> Any:
    return sorted((brake.pool, brake.why, brake.strays, brake.missing) for brake in seen.brakes)


def _foreign(seen: Watched) -> Any:
    return sorted((one.pool, one.count, one.names) for one in seen.foreign)


def _failing_dns(seen: Watched) -> Any:
    return sorted(one.name for one in seen.failing_dns)


def _paused(seen: Watched) -> Any:
    return sorted((name, pool.pause.state) for name, pool in seen.found.pools.items() if pool.pause)


def _empty(seen: Watched) -> Any:
    """Return the empty pools, and which of the two limits of an empty pool each has passed."""
    sizes = {pool.name: pool.size for pool in seen.settings.pools}
    limits = (ALL_EMPTY_GRACE, seen.settings.config.empty_pool_grace)
    empty_since = seen.checked.empty_since if seen.checked else seen.found.empty_since
    empty = {}
    for name, pool in seen.found.pools.items():
        if pool.size(sizes.get(name)) > 0 and not pool.vms.get(Queue.READY):
            seconds = pool_facts.empty_seconds(name, empty_since.get(name, seen.now), seen.work, seen.now)
            empty[name] = sum(seconds >= limit for limit in limits)
    return sorted(empty.items())


def _dead_letters(seen: Watched) -> Any:
    total, limits = sum(seen.found.dlq_sizes.values()), seen.settings.config.health_thresholds
    return sum(total > limit for limit in (limits.dlq_max_warning, limits.dlq_max_critical))


def _cycles(seen: Watched) -> Any:
    """Return which cycles are overdue, and whether the last purge failed.

    The health check that ends an outage still reports it, so it records the fact as it was before. The next turn sees
    that it changed, and one more check ends the reason.
    """
    config, found = seen.settings.config, seen.found

    def is_overdue(last: float | None, interval_seconds: float) -> bool:
        return last is not None and seen.now - last > (1 + OVERDUE_INTERVALS) * interval_seconds

    last_check = epoch_of(found, "last_scheduled_check")
    return [
        config.health_check_enabled and is_overdue(last_check, config.health_check_interval),
        config.purge_enabled and is_overdue(found.purge_finished, config.purge_interval),
        found.purge_failure is not None,
    ]


def _unreadable(seen: Watched) -> Any:
    own = [*(one.key for one in seen.wrong_keys), *(one.key for one in seen.set_aside)]
    return sorted({*map(readable, (*seen.found.refused, *own))})


def _removed(seen: Watched) -> Any:
    return [(state.name, bool(state.removed and state.removed.kept)) for state in seen.found.removed]


WATCHED_FACTS: Mapping[str, Callable[[Watched], Any]] = {
    "processes": _reasons,
    "suspensions": _suspended,
    "work": _stalled,
    "recycled pools": _recycled,
    "other manager": _other_manager,
    "pauses": _paused,
    "brakes": _brakes,
    "foreign VMs": _foreign,
    "DNS": _failing_dns,
    "empty pools": _empty,
    "cycles": _cycles,
    "dead letters": _dead_letters,
    "unreadable keys": _unreadable,
    "removed pools": _removed,
}
"""Name of a fact → its value, as JSON can hold it. The name stands in the log line of the check that it causes."""


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode("utf-8", "surrogatepass")).hexdigest()[:12]
