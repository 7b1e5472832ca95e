"""From what was measured to the health status. The operator guide's section: Health Checks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vmpooler_tasks.model.health.metrics import HealthMetrics
from vmpooler_tasks.model.health.reasons import HealthReason, ReasonCode, default_reason
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.purge import SkippedQueue
from vmpooler_tasks.model.timestamps import whole_seconds

NEAR_CAP = 0.9
"""Share of `dlq_max_entries` at which health degrades: before dead letters are dropped, not after."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """The facts that an assessment needs beside the metrics.

    `empty_seconds`: for how long each empty pool has been empty. `suspended_providers`: the providers that the circuit
    breaker suspends, and how often each failed in a row. `suspended_pools`: the same of pools whose clones failed
    permanently. `other_managers`: how often another pool manager was seen recently.
    """

    now: float
    purge: CycleHistory
    health: CycleHistory
    dlq_max_entries: int
    empty_pool_grace: float
    empty_seconds: Mapping[str, float]
    unreadable_keys: int = 0
    purge_max_percent: float = 100
    suspended_providers: Mapping[str, int] = field(default_factory=dict)
    suspended_pools: Mapping[str, int] = field(default_factory=dict)
    breaker_failures: int = 0
    other_managers: int = 0


@dataclass(frozen=True, slots=True)
class Assessment:
    """The health status and its reasons, the worst first."""

    status: Status
    reasons: tuple[HealthReason, ...]


def assess(metrics: HealthMetrics, limits: Thresholds, facts: Circumstances) -> Assessment:
    """Return the health status: that of the worst reason, healthy without any."""
    reasons = [
        *_backlog_reasons(metrics, limits),
        *_standstill_reasons(metrics, facts),
        *_purge_reasons(facts),
        *_manager_reasons(facts),
    ]
    reasons.sort(key=lambda reason: (-reason.severity, reason.code, reason.pool or ""))
    return Assessment(max((reason.severity for reason in reasons), default=Status.HEALTHY), tuple(reasons))


def _backlog_reasons(metrics: HealthMetrics, limits: Thresholds) -> Iterator[HealthReason]:
    """What VMPooler's own health check assesses."""
    yield from _graded(ReasonCode.DLQ_SIZE, metrics.dlq_total_size, limits.dlq_max_warning, limits.dlq_max_critical)
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


def _standstill_reasons(metrics: HealthMetrics, facts: Circumstances) -> Iterator[HealthReason]:
    for pool, seconds in facts.empty_seconds.items():
        if seconds >= facts.empty_pool_grace:
            yield default_reason(ReasonCode.EMPTY_POOL, whole_seconds(seconds), facts.empty_pool_grace, pool=pool)
    for code, cycle in ((ReasonCode.PURGE_OVERDUE, facts.purge), (ReasonCode.HEALTH_OVERDUE, facts.health)):
        limit = OVERDUE_INTERVALS * cycle.interval_seconds
        overdue = cycle.overdue_seconds(facts.now)
        if cycle.enabled and overdue > limit:
            yield default_reason(code, whole_seconds(overdue), limit)
    near_cap = NEAR_CAP * facts.dlq_max_entries
    for queue, size in metrics.dead_letters.items():
        if size >= near_cap:
            yield default_reason(ReasonCode.DLQ_NEAR_CAP, size, near_cap, queue=queue)
    if facts.unreadable_keys:
        yield default_reason(ReasonCode.UNREADABLE_KEYS, facts.unreadable_keys)


def _purge_reasons(facts: Circumstances) -> Iterator[HealthReason]:
    purge = facts.purge
    for pool, queue, percent in purge.skipped_queues:
        yield default_reason(ReasonCode.PURGE_ABORTED, percent, facts.purge_max_percent, pool=pool, queue=queue)
    if purge.unfinished_since is not None:
        yield default_reason(ReasonCode.PURGE_UNFINISHED, whole_seconds(facts.now - purge.unfinished_since))
    if purge.failure is not None:
        yield default_reason(ReasonCode.PURGE_FAILED, 1)


def _manager_reasons(facts: Circumstances) -> Iterator[HealthReason]:
    for provider, failures in facts.suspended_providers.items():
        yield default_reason(ReasonCode.BREAKER_OPEN, failures, facts.breaker_failures, provider=provider)
    for pool, failures in facts.suspended_pools.items():
        yield default_reason(ReasonCode.POOL_BROKEN, failures, facts.breaker_failures, pool=pool)
    if facts.other_managers:
        yield default_reason(ReasonCode.OTHER_MANAGER, facts.other_managers)


def is_stale(last_check: float | None, now: float, interval_seconds: float) -> bool:
    """Return True if a recorded status is missing, older than three intervals, or from the future.

    One from the future would never grow old.
    """
    if last_check is None:
        return True
    return now - last_check > STALE_AFTER_INTERVALS * interval_seconds or last_check - now > interval_seconds


def stale_assessment(last_check: float | None, now: float, interval_seconds: float) -> Assessment:
    """Return what replaces a recorded status that `is_stale`. The measure is its age, below zero from the future."""
    age = 0 if last_check is None else whole_seconds(now - last_check)
    reason = default_reason(ReasonCode.STALE, age, STALE_AFTER_INTERVALS * interval_seconds)
    return Assessment(reason.severity, (reason,))


def unreadable_assessment(fields: int) -> Assessment:
    """Return what replaces a recorded status of which this many fields cannot be read."""
    reason = default_reason(ReasonCode.UNREADABLE, fields)
    return Assessment(reason.severity, (reason,))
