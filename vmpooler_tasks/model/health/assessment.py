"""From what was measured to the health status. The operator guide's section: Health Checks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

from vmpooler_tasks.model.guards.brake import Brake, BrakeCause
from vmpooler_tasks.model.guards.foreign import ForeignVms
from vmpooler_tasks.model.guards.removed import NO_DRAIN, DrainRules, RemovedPoolState
from vmpooler_tasks.model.health.dns_failures import MAX_DNS_FAILURES, FailingDns
from vmpooler_tasks.model.health.explanation import HealthReason, default_reason, error_line
from vmpooler_tasks.model.health.metrics import HealthMetrics
from vmpooler_tasks.model.health.reasons import REASONS, ReasonCode
from vmpooler_tasks.model.health.recycling import RecycledPool
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.manager_watch import UNWATCHED, ManagerWatch
from vmpooler_tasks.model.names import DeadLetterQueue, listed
from vmpooler_tasks.model.pools.suspension import LastError, Suspension
from vmpooler_tasks.model.purge import SkippedQueue
from vmpooler_tasks.model.timestamps import iso_utc, whole_seconds

NEAR_CAP = 0.9
"""Share of `dlq_max_entries` and `dlq_max_bytes` at which health degrades, before any is dropped."""

ALL_EMPTY_GRACE = 60
"""Seconds that all pools together may have no ready VM. A new installation needs them to clone its first VMs."""

MAX_KEYS_IN_REASON = 3
"""Keys that a reason names."""

MAX_VMS_IN_REASON = 3
"""VMs that a reason names."""

MAX_QUEUES_IN_REASONS = 20
"""Reasons about VMs in two queues: one for each pair of queues, and no more than so many."""

MAX_SET_ASIDE_IN_REASONS = 20
"""The maximum of reasons about keys that were set aside. Each key has one."""

STALE_AFTER_INTERVALS = 3
"""Intervals after which a recorded status that was not renewed does not count."""

OVERDUE_INTERVALS = 2
"""Intervals past its due time at which a cycle counts as dead."""


class Thresholds(Protocol):
    """`health_thresholds` in `:config:`. A value equal to its threshold is healthy."""

    @property
    def pending_queue_max(self) -> float: ...
    @property
    def ready_queue_max(self) -> float: ...
    @property
    def dlq_max_warning(self) -> float: ...
    @property
    def dlq_max_critical(self) -> float: ...
    @property
    def stuck_vm_max_warning(self) -> float: ...
    @property
    def stuck_vm_max_critical(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleHistory:
    """One periodic cycle: purge or health check. Times are in seconds since the epoch, None for never.

    `unfinished_since`: the start of a cycle that did not end and is no longer running. `failure`: why the last cycle
    failed. `skipped_queues`: those that the last cycle did not purge because of `purge_max_percent`.
    """

    enabled: bool
    interval_seconds: float
    last_run: float | None
    first_expected: float
    unfinished_since: float | None = None
    failure: str | None = None
    skipped_queues: Sequence[SkippedQueue] = ()

    def overdue_seconds(self, now: float) -> float:
        """Return the seconds since the next run was due; zero or less if it is not due yet."""
        if self.last_run is None:
            return now - self.first_expected
        return now - max(self.first_expected, self.last_run + self.interval_seconds)


@dataclass(frozen=True, slots=True)
class PoolInUse:
    """A pool that shall have ready VMs: its size is above zero, and its operator has not paused it.

    `empty_seconds`: for how long it has had no ready VM, None if it has one. `is_suspended`: the circuit breaker
    suspends it or its provider, so that it gets no VM for now.
    """

    empty_seconds: float | None = None
    is_suspended: bool = False

    def is_empty_for(self, seconds: float) -> bool:
        """Return True if it has had no ready VM for so long. A suspended pool needs no time: nothing fills it."""
        return self.empty_seconds is not None and (self.is_suspended or self.empty_seconds >= seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class StalledWork:
    """Work that should end again and again, and has not for `seconds`. `code` says which work.

    `is_everywhere`: the same work stands still for every pool. `limit_seconds`: how long it may take, if that is not
    `stalled_after_seconds`.
    """

    code: ReasonCode
    seconds: float
    pool: str | None = None
    key: str | None = None
    error: str | None = None
    is_everywhere: bool = False
    limit_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubleQueued:
    """VMs that are in the same two queues, or more: the keys of these, and the pool of the first."""

    pool: str
    queues: Sequence[str]
    vms: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """The facts that an assessment needs beside the metrics.

    `suspended_providers`: the providers that the circuit breaker suspends. `suspended_pools`: the same of pools whose
    clones or checks failed. `recycled_pools`: those whose ready VMs are recycled repeatedly. `brakes`: those that are
    engaged. `foreign`: of the pools that have foreign VMs. `failing_dns`: the entries of `:dns_configs:` whose calls
    fail again and again. `wrong_keys`: our own keys of a wrong type, with what is wrong (`a string, not a sorted set`).
    `set_aside_keys`: the same of those that were set aside a moment ago.
    `manager_watch`: the watch for another pool manager. `removed_pools`: those with VMs that are in no configuration.
    """

    now: float
    purge: CycleHistory
    health: CycleHistory
    dlq_max_entries: int
    empty_pool_grace: float
    pools_in_use: Mapping[str, PoolInUse] = field(default_factory=dict)
    unreadable_keys: Sequence[str] = ()
    double_queued: Sequence[DoubleQueued] = ()
    wrong_keys: Mapping[str, str] = field(default_factory=dict)
    set_aside_keys: Mapping[str, str] = field(default_factory=dict)
    purge_max_percent: float = 100
    suspended_providers: Sequence[Suspension] = ()
    suspended_pools: Sequence[Suspension] = ()
    recycled_pools: Sequence[RecycledPool] = ()
    breaker_failures: int = 0
    brakes: Sequence[Brake] = ()
    foreign: Sequence[ForeignVms] = ()
    failing_dns: Sequence[FailingDns] = ()
    stalled: Sequence[StalledWork] = ()
    stalled_after_seconds: float = 0
    manager_watch: ManagerWatch = UNWATCHED
    removed_pools: Sequence[RemovedPoolState] = ()
    drain_rules: DrainRules = NO_DRAIN


@dataclass(frozen=True, slots=True)
class Assessment:
    """The health status and its reasons, the worst first."""

    status: Status
    reasons: tuple[HealthReason, ...]


def assess(metrics: HealthMetrics, limits: Thresholds, facts: Circumstances) -> Assessment:
    """Return the health status: that of the worst reason, healthy without any."""
    reasons = [
        *dead_letter_reasons(metrics.dead_letters, limits, facts.dlq_max_entries),
        *_backlog_reasons(metrics, limits),
        *_empty_reasons(facts),
        *_standstill_reasons(facts),
        *_stalled_reasons(facts),
        *_purge_reasons(facts),
        *_manager_reasons(facts),
    ]
    reasons.sort(key=lambda reason: (-reason.severity, reason.code, reason.pool or "", reason.key or ""))
    return Assessment(max((reason.severity for reason in reasons), default=Status.HEALTHY), tuple(reasons))


def dead_letter_reasons(
    sizes: Mapping[DeadLetterQueue, int], limits: Thresholds, max_entries: int
) -> Iterator[HealthReason]:
    """Return the reasons about dead letters, from the number in each queue. `max_entries`: the cap of each queue."""
    yield from _graded(ReasonCode.DLQ_SIZE, sum(sizes.values()), limits.dlq_max_warning, limits.dlq_max_critical)
    near_cap = NEAR_CAP * max_entries
    for queue, size in sizes.items():
        if size >= near_cap:
            yield default_reason(ReasonCode.DLQ_NEAR_CAP, size, near_cap, queue=queue)


def bytes_reasons(sizes: Mapping[DeadLetterQueue, int], max_bytes: int) -> Iterator[HealthReason]:
    """Return the reasons about the bytes of dead letters in each queue. `max_bytes`: the cap of each queue."""
    near_cap = NEAR_CAP * max_bytes
    for queue, size in sizes.items():
        if size >= near_cap:
            yield default_reason(ReasonCode.DLQ_NEAR_CAP, size, near_cap, queue=queue, key="dlq_max_bytes")


def _backlog_reasons(metrics: HealthMetrics, limits: Thresholds) -> Iterator[HealthReason]:
    """What VMPooler's own health check assesses."""
    yield from _graded(
        ReasonCode.STUCK_VMS, metrics.stuck_vm_count, limits.stuck_vm_max_warning, limits.stuck_vm_max_critical
    )
    for name, pool in metrics.pools.items():
        for code, size, maximum in (
            (ReasonCode.PENDING_QUEUE, pool.pending.size, limits.pending_queue_max),
            (ReasonCode.READY_QUEUE, pool.ready.size, limits.ready_queue_max),
        ):
            yield from _graded(code, size, maximum, 2 * maximum, name)


def _graded(
    code: ReasonCode, measured: float, warning: float, critical: float, pool: str | None = None
) -> Iterator[HealthReason]:
    if measured > critical:
        yield HealthReason(code, Status.UNHEALTHY, measured, critical, pool)
    elif measured > warning:
        yield HealthReason(code, Status.DEGRADED, measured, warning, pool)


def _empty_reasons(facts: Circumstances) -> Iterator[HealthReason]:
    pools = facts.pools_in_use
    if pools and all(pool.is_empty_for(ALL_EMPTY_GRACE) for pool in pools.values()):
        shortest = min(pool.empty_seconds or 0 for pool in pools.values())
        yield default_reason(ReasonCode.ALL_POOLS_EMPTY, whole_seconds(shortest), ALL_EMPTY_GRACE)
    for name, pool in pools.items():
        if pool.is_empty_for(facts.empty_pool_grace):
            seconds = whole_seconds(pool.empty_seconds or 0)
            yield default_reason(ReasonCode.EMPTY_POOL, seconds, facts.empty_pool_grace, pool=name)


def _standstill_reasons(facts: Circumstances) -> Iterator[HealthReason]:
    for code, cycle in ((ReasonCode.PURGE_OVERDUE, facts.purge), (ReasonCode.HEALTH_OVERDUE, facts.health)):
        limit = OVERDUE_INTERVALS * cycle.interval_seconds
        overdue = cycle.overdue_seconds(facts.now)
        if cycle.enabled and overdue > limit:
            yield default_reason(code, whole_seconds(overdue), limit)
    if facts.unreadable_keys:
        names = listed(facts.unreadable_keys, MAX_KEYS_IN_REASON)
        yield default_reason(ReasonCode.UNREADABLE_KEYS, len(facts.unreadable_keys), key=names)
    for group in facts.double_queued[:MAX_QUEUES_IN_REASONS]:
        vms = error_line(listed(group.vms, MAX_VMS_IN_REASON))
        where = listed(group.queues, MAX_KEYS_IN_REASON)
        yield default_reason(ReasonCode.VM_IN_TWO_QUEUES, len(group.vms), pool=group.pool, key=where, error=vms)
    for key, mismatch in facts.wrong_keys.items():
        yield default_reason(ReasonCode.WRONG_TYPE_KEY, 1, key=key, error=mismatch)
    for key, mismatch in list(facts.set_aside_keys.items())[:MAX_SET_ASIDE_IN_REASONS]:
        yield default_reason(ReasonCode.KEY_SET_ASIDE, 1, key=key, error=mismatch)


def _purge_reasons(facts: Circumstances) -> Iterator[HealthReason]:
    purge = facts.purge
    for pool, queue, percent in purge.skipped_queues:
        yield default_reason(ReasonCode.PURGE_ABORTED, percent, facts.purge_max_percent, pool=pool, queue=queue)
    if purge.unfinished_since is not None:
        yield default_reason(ReasonCode.PURGE_UNFINISHED, whole_seconds(facts.now - purge.unfinished_since))
    if purge.failure is not None:
        yield default_reason(ReasonCode.PURGE_FAILED, 1)


def _stalled_reasons(facts: Circumstances) -> Iterator[HealthReason]:
    for work in facts.stalled:
        severity = Status.UNHEALTHY if work.is_everywhere else REASONS[work.code].severity
        yield HealthReason(
            work.code,
            severity,
            whole_seconds(work.seconds),
            facts.stalled_after_seconds if work.limit_seconds is None else work.limit_seconds,
            pool=work.pool,
            key=work.key,
            error=work.error,
        )


def _manager_reasons(facts: Circumstances) -> Iterator[HealthReason]:
    for one in facts.suspended_providers:
        about = {"provider": one.name, **_about_suspension(one)}
        yield default_reason(ReasonCode.BREAKER_OPEN, one.failures, facts.breaker_failures, **about)
    for one in facts.suspended_pools:
        about = {"pool": one.name, **_about_suspension(one)}
        yield default_reason(ReasonCode.POOL_BROKEN, one.failures, facts.breaker_failures, **about)
    yield from recycled_reasons(facts.recycled_pools)
    for brake in facts.brakes:
        limit = 0 if brake.why in (BrakeCause.UNMANAGED, BrakeCause.UNRECORDED) else brake.limit
        yield default_reason(ReasonCode.BRAKE, brake.count, limit, pool=brake.pool, error=brake.counts_text)
    yield from foreign_reasons(facts.foreign)
    yield from dns_reasons(facts.failing_dns)
    if facts.manager_watch.is_other_seen:
        evidence = error_line(facts.manager_watch.evidence)
        about = {"error": evidence} if evidence else {}
        yield default_reason(ReasonCode.OTHER_MANAGER, facts.manager_watch.sightings, 0, **about)
    for removed in facts.removed_pools:
        text = f"{removed.counts_text}: {removed.fate(facts.drain_rules)}"
        yield default_reason(ReasonCode.REMOVED_POOL, removed.count, pool=removed.name, error=text)


def foreign_reasons(found: Sequence[ForeignVms]) -> Iterator[HealthReason]:
    """Return a reason for each pool that has foreign VMs."""
    for one in found:
        yield default_reason(ReasonCode.FOREIGN_VM, one.count, pool=one.pool, error=error_line(one.names_text))


def dns_reasons(failing: Sequence[FailingDns]) -> Iterator[HealthReason]:
    """Return the reasons about entries of `:dns_configs:` whose calls fail again and again."""
    for one in failing:
        about = {"key": one.name, **_about_error(one.last_error)}
        yield default_reason(ReasonCode.DNS_FAILING, one.failures, MAX_DNS_FAILURES, **about)


def recycled_reasons(pools: Sequence[RecycledPool]) -> Iterator[HealthReason]:
    """Return the reasons about pools whose ready VMs are recycled again and again."""
    for pool in pools:
        about = {"pool": pool.name, **_about_error(pool.last_error)}
        yield default_reason(ReasonCode.RECYCLED_REPEATEDLY, pool.count, pool.limit, **about)


def _about_suspension(found: Suspension) -> dict[str, str]:
    """Return the last error, its time, and the time of the next attempt, as a reason holds them."""
    return {**_about_error(found.last_error), "next_attempt_at": iso_utc(ceil(found.suspended_until))}


def _about_error(error: LastError | None) -> dict[str, str]:
    return {"error": error.text, "error_at": iso_utc(error.at)} if error else {}


def is_stale(last_check: float | None, now: float, interval_seconds: float) -> bool:
    """Return True if a recorded status is missing, older than three intervals, or from the future.

    One from the future would never grow old.
    """
    if last_check is None:
        return True
    return now - last_check > STALE_AFTER_INTERVALS * interval_seconds or last_check - now > interval_seconds


def stale_reason(last_check: float | None, now: float, interval_seconds: float) -> HealthReason:
    """Return the reason of a check that `is_stale`. The measure is its age, below zero from the future."""
    age = 0 if last_check is None else whole_seconds(now - last_check)
    return default_reason(ReasonCode.STALE, age, STALE_AFTER_INTERVALS * interval_seconds)


def unreadable_assessment(fields: int) -> Assessment:
    """Return what replaces a recorded status of which this many fields cannot be read."""
    reason = default_reason(ReasonCode.UNREADABLE, fields)
    return Assessment(reason.severity, (reason,))
