"""The health verdict: what was measured, and what that means. The guide's section: Health Checks."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.timestamps import whole_seconds

NEAR_CAP = 0.9
"""Share of `dlq_max_entries` at which health degrades: before letters are dropped, not after."""

STALE_AFTER_INTERVALS = 3
"""Intervals after which a verdict that was not renewed is worth nothing."""

OVERDUE_INTERVALS = 2
"""Intervals past its due time at which a cycle counts as dead."""


class Status(IntEnum):
    """The number is the guide's metric and the command's exit status."""

    HEALTHY = 0
    DEGRADED = 1
    UNHEALTHY = 2

    def __str__(self) -> str:
        return self.name.lower()


class Thresholds(Protocol):
    """`:config: health_thresholds:`; each threshold itself is still well."""

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


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """One queue of one pool; ages in seconds, of those entries whose age is known."""

    size: int = 0
    oldest_age: int = 0
    avg_age: int = 0
    stuck_count: int = 0


def measure_queue(size: int, ages: Sequence[float], stuck_after: float | None = None) -> QueueMetrics:
    """Sums one queue up; `stuck_after` is in seconds, None where nothing counts as stuck.

    A second that has only begun does not count, in an age or in the average, as in VMPooler.
    """
    whole = [int(age) for age in ages]
    return QueueMetrics(
        size=size,
        oldest_age=max(whole, default=0),
        avg_age=sum(whole) // len(whole) if whole else 0,
        stuck_count=0 if stuck_after is None else sum(age > stuck_after for age in whole),
    )


@dataclass(frozen=True, slots=True)
class PoolMetrics:
    pending: QueueMetrics = field(default_factory=QueueMetrics)
    ready: QueueMetrics = field(default_factory=QueueMetrics)
    completed: int = 0


@dataclass(frozen=True, slots=True)
class Metrics:
    """What one check measured."""

    pools: Mapping[str, PoolMetrics]
    dead_letters: Mapping[DeadLetterQueue, int]
    orphaned_metadata: int = 0
    active_clones: int = 0
    active_ondemand_clones: int = 0
    pending_ondemand_clones: int = 0

    @property
    def dlq_total_size(self) -> int:
        return sum(self.dead_letters.values())

    @property
    def stuck_vm_count(self) -> int:
        return sum(pool.pending.stuck_count for pool in self.pools.values())

    def nested(self) -> dict[str, Any]:
        """As VMPooler nests them in `vmpooler__health`; dead letters share `queues` with the pools, as there."""
        queues: dict[str, Any] = {name: _nested_pool(pool) for name, pool in self.pools.items()}
        sizes = {str(queue): {"size": size} for queue, size in self.dead_letters.items() if size}
        if sizes:
            queues.setdefault("dlq", {}).update(sizes)
        return {
            "queues": queues,
            "tasks": {
                "clone": {"active": self.active_clones},
                "ondemand": {"active": self.active_ondemand_clones, "pending": self.pending_ondemand_clones},
            },
            "errors": {
                "dlq_total_size": self.dlq_total_size,
                "stuck_vm_count": self.stuck_vm_count,
                "orphaned_metadata_count": self.orphaned_metadata,
            },
        }


def _nested_pool(pool: PoolMetrics) -> dict[str, Any]:
    pending, ready = pool.pending, pool.ready
    return {
        "pending": {
            "size": pending.size,
            "oldest_age": pending.oldest_age,
            "avg_age": pending.avg_age,
            "stuck_count": pending.stuck_count,
        },
        "ready": {"size": ready.size, "oldest_age": ready.oldest_age, "avg_age": ready.avg_age},
        "completed": {"size": pool.completed},
    }


@dataclass(frozen=True, slots=True)
class Reason:
    """Why health is not perfect: a measure beyond its threshold, and whose."""

    code: str
    severity: Status
    measured: float
    threshold: float
    pool: str | None = None
    queue: str | None = None
    provider: str | None = None

    def as_json(self) -> dict[str, Any]:
        shown = {
            "code": self.code,
            "severity": str(self.severity),
            "measured": _whole(self.measured),
            "threshold": _whole(self.threshold),
            "pool": self.pool,
        }
        further = {"queue": self.queue, "provider": self.provider}
        return {**shown, **{name: value for name, value in further.items() if value is not None}}


def _whole(number: float) -> float:
    return int(number) if float(number).is_integer() else round(number, 3)


def read_reason(data: Any) -> Reason:
    """The inverse of `Reason.as_json`. Raises ValueError for what is none."""
    try:
        measured, threshold = float(data["measured"]), float(data["threshold"])
        severity = Status[data["severity"].upper()]
        code, pool, queue, provider = data["code"], *(data.get(name) for name in ("pool", "queue", "provider"))
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"this is no reason: {data!r}") from error
    whole = isinstance(code, str) and all(isinstance(name, str | None) for name in (pool, queue, provider))
    if not (whole and math.isfinite(measured) and math.isfinite(threshold)):
        raise ValueError(f"this is no reason: {data!r}")
    return Reason(code, severity, measured, threshold, pool, queue, provider)


def read_reasons(text: str) -> tuple[Reason, ...]:
    """Those of `vmpooler__health`. Raises ValueError for what is no list of reasons."""
    found = _read_json(text)
    if not isinstance(found, list):
        raise ValueError("the reasons are no list")  # noqa: TRY004 - of the value, whatever its type
    return tuple(read_reason(reason) for reason in found)


def read_metrics(text: str) -> dict[str, Any]:
    """Those of `vmpooler__health`, nested as `Metrics.nested`; parts may be missing, as others write it too.

    Raises ValueError for what is nested otherwise.
    """
    found = _read_json(text)
    queues = found.get("queues", {}) if isinstance(found, dict) else None
    if not isinstance(queues, dict) or not all(isinstance(part, dict) for part in (*found.values(), *queues.values())):
        raise ValueError("the metrics are not nested as they should be")
    if not all(isinstance(count, int | float) for count in found.get("errors", {}).values()):
        raise ValueError("the metrics count what is no number")
    return dict(found)


def _read_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleHistory:
    """What is known of one periodic cycle; times in seconds since the epoch, None if never.

    `unfinished_since`: when a cycle began that never ended and is not running any more. `failure`: why the last one
    failed. `spared`: the (pool, queue, percent) that the last cycle left alone because it would have taken too much.
    """

    enabled: bool
    interval_seconds: float
    last_run: float | None
    first_expected: float
    unfinished_since: float | None = None
    failure: str | None = None
    spared: Sequence[tuple[str, str, float]] = ()

    def overdue_seconds(self, now: float) -> float:
        """How long past its due time the next run is; not above zero if it is not due yet."""
        if self.last_run is None:
            return now - self.first_expected
        return now - max(self.first_expected, self.last_run + self.interval_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a verdict needs beside the metrics. `empty_seconds`: for how long each empty pool has been seen empty.

    `open_breakers`: the providers that are left alone, and how often each failed in a row. `broken_pools`: the same of
    pools whose clones failed for good. `other_managers`: how often another pool manager was seen at work lately.
    """

    now: float
    purge: CycleHistory
    health: CycleHistory
    dlq_max_entries: int
    empty_pool_grace: float
    empty_seconds: Mapping[str, float]
    unreadable_keys: int = 0
    purge_max_percent: float = 100
    open_breakers: Mapping[str, int] = field(default_factory=dict)
    broken_pools: Mapping[str, int] = field(default_factory=dict)
    breaker_failures: int = 0
    other_managers: int = 0


@dataclass(frozen=True, slots=True)
class Assessment:
    status: Status
    reasons: tuple[Reason, ...]


def assess(metrics: Metrics, limits: Thresholds, around: Circumstances) -> Assessment:
    """The verdict: as bad as the worst reason, healthy without one."""
    reasons = tuple(
        sorted(
            [
                *_backlogs(metrics, limits),
                *_standstills(metrics, around),
                *_purge_troubles(around),
                *_manager_troubles(around),
            ],
            key=lambda reason: (-reason.severity, reason.code, reason.pool or ""),
        )
    )
    return Assessment(max((reason.severity for reason in reasons), default=Status.HEALTHY), reasons)


def _backlogs(metrics: Metrics, limits: Thresholds) -> Iterator[Reason]:
    """VMPooler's own verdict."""
    yield from _graded("dlq_size", metrics.dlq_total_size, limits.dlq_max_warning, limits.dlq_max_critical)
    yield from _graded("stuck_vms", metrics.stuck_vm_count, limits.stuck_vm_max_warning, limits.stuck_vm_max_critical)
    for name, pool in metrics.pools.items():
        for code, size, most in (
            ("pending_queue", pool.pending.size, limits.pending_queue_max),
            ("ready_queue", pool.ready.size, limits.ready_queue_max),
        ):
            yield from _graded(code, size, most, 2 * most, name)


def _graded(code: str, measured: float, warning: float, critical: float, pool: str | None = None) -> Iterator[Reason]:
    if measured > critical:
        yield Reason(code, Status.UNHEALTHY, measured, critical, pool)
    elif measured > warning:
        yield Reason(code, Status.DEGRADED, measured, warning, pool)


def _standstills(metrics: Metrics, around: Circumstances) -> Iterator[Reason]:
    """What VMPooler's own verdict does not see."""
    for pool, seconds in around.empty_seconds.items():
        if seconds >= around.empty_pool_grace:
            yield Reason("empty_pool", Status.DEGRADED, whole_seconds(seconds), around.empty_pool_grace, pool)
    for code, cycle in (("purge_overdue", around.purge), ("health_overdue", around.health)):
        limit = OVERDUE_INTERVALS * cycle.interval_seconds
        overdue = cycle.overdue_seconds(around.now)
        if cycle.enabled and overdue > limit:
            yield Reason(code, Status.DEGRADED, whole_seconds(overdue), limit)
    for queue, size in metrics.dead_letters.items():
        if size >= NEAR_CAP * around.dlq_max_entries:
            yield Reason("dlq_near_cap", Status.DEGRADED, size, NEAR_CAP * around.dlq_max_entries, queue=queue)
    if around.unreadable_keys:
        yield Reason("unreadable_keys", Status.DEGRADED, around.unreadable_keys, 0)


def _purge_troubles(around: Circumstances) -> Iterator[Reason]:
    for pool, queue_name, percent in around.purge.spared:
        yield Reason("purge_aborted", Status.DEGRADED, percent, around.purge_max_percent, pool, queue_name)
    if around.purge.unfinished_since is not None:
        yield Reason("purge_unfinished", Status.DEGRADED, whole_seconds(around.now - around.purge.unfinished_since), 0)
    if around.purge.failure is not None:
        yield Reason("purge_failed", Status.DEGRADED, 1, 0)


def _manager_troubles(around: Circumstances) -> Iterator[Reason]:
    for provider, failures in around.open_breakers.items():
        yield Reason("breaker_open", Status.DEGRADED, failures, around.breaker_failures, provider=provider)
    for pool, failures in around.broken_pools.items():
        yield Reason("pool_broken", Status.DEGRADED, failures, around.breaker_failures, pool)
    if around.other_managers:
        yield Reason("other_manager", Status.DEGRADED, around.other_managers, 0)


def is_stale(last_check: float | None, now: float, interval_seconds: float) -> bool:
    """Whether a stored verdict is too old to be believed; one from the future would never grow old."""
    if last_check is None:
        return True
    return now - last_check > STALE_AFTER_INTERVALS * interval_seconds or last_check - now > interval_seconds


def stale_assessment(last_check: float | None, now: float, interval_seconds: float) -> Assessment:
    """What a reader has to say instead of a verdict that is too old or missing. Below zero: it is of the future."""
    age = 0 if last_check is None else whole_seconds(now - last_check)
    limit = STALE_AFTER_INTERVALS * interval_seconds
    return Assessment(Status.UNHEALTHY, (Reason("stale", Status.UNHEALTHY, age, limit),))


def unreadable_assessment(fields: int) -> Assessment:
    """What a reader has to say instead of a verdict of which so many fields do not hold what they should."""
    return Assessment(Status.UNHEALTHY, (Reason("unreadable", Status.UNHEALTHY, fields, 0),))


def status_line(status: Status, metrics: Metrics) -> str:
    """The guide's log line."""
    pools = metrics.pools.values()
    return (
        f"[*] [health] Status: {str(status).upper()}"
        f" | Queues: P={_total(p.pending.size for p in pools)} R={_total(p.ready.size for p in pools)}"
        f" C={_total(p.completed for p in pools)}"
        f" | DLQ={metrics.dlq_total_size} | Stuck={metrics.stuck_vm_count} | Orphaned={metrics.orphaned_metadata}"
    )


def _total(sizes: Iterable[int]) -> int:
    return sum(sizes)
