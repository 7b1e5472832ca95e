"""One health check: measure, judge, record, say. The guide's section: Health Checks."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import StoreRefusedError, VmpoolerTasksError
from vmpooler_tasks.jobs.health.measure import measure, measure_errors
from vmpooler_tasks.model.health.history import KeptCheck
from vmpooler_tasks.model.health.reason_texts import explain
from vmpooler_tasks.model.health.status import (
    Assessment,
    Circumstances,
    CycleHistory,
    Metrics,
    Reason,
    Status,
    assess,
    status_line,
)
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.store.health.record import HealthState
from vmpooler_tasks.store.pools import breakers, other_manager
from vmpooler_tasks.store.pools.breakers import Suspension
from vmpooler_tasks.store.purge import batches
from vmpooler_tasks.store.purge.batches import PurgeState

_log = logging.getLogger("vmpooler_tasks.health")

SHORTEST_EXPIRY = 3600

Publish = Callable[[Metrics, Assessment, float], None]
"""Told of each check: what was measured, the verdict, and when, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """A verdict as it is shown; `metrics` nested as in `vmpooler__health`."""

    verdict: Assessment
    last_check: str | None
    metrics: Mapping[str, Any]
    duration_seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        errors = self.metrics.get("errors", {})
        return {
            "status": str(self.verdict.status),
            "last_check": self.last_check,
            "stuck_vm_count": errors.get("stuck_vm_count", 0),
            "dlq_total_size": errors.get("dlq_total_size", 0),
            "orphaned_metadata_count": errors.get("orphaned_metadata_count", 0),
            "reasons": [reason.as_json() for reason in self.verdict.reasons],
            "metrics": self.metrics,
            "duration_seconds": round(self.duration_seconds, 6),
        }


def run(
    db: Database, settings: Settings, clock: Clock, *, asked_for: bool = False, publish: Publish | None = None
) -> HealthReport | None:
    """Checks and records. None if health checks are switched off and nobody `asked_for` this one.

    What was found is handed to `publish`, which must not fail, nor take long. A verdict that Redis refuses to record is
    unhealthy and says so. Raises what made the check itself fail.
    """
    if not settings.config.health_check_enabled and not asked_for:
        _log.warning("[*] [health] Skipped health check: it is switched off (health_check_enabled: false)")
        return None
    begun, now = time.perf_counter(), clock()
    _log.info("[*] [health] Running queue health check")
    try:
        metrics, verdict, state = _check(db, settings, now)
    except Exception as error:
        # Of any kind: a time limit or a mistake of ours makes the check fail as well, and the log has to say so.
        why = str(error) if isinstance(error, VmpoolerTasksError) else f"{type(error).__name__}: {error}"
        _log.error("[!] [health] Failed during health check: %s", why)
        raise
    verdict = _recorded(db, settings, now, metrics, verdict, state)
    _say(verdict, metrics)
    if publish:
        publish(metrics, verdict, now)
    return HealthReport(verdict, iso_utc(now), metrics.nested(), time.perf_counter() - begun)


def _check(db: Database, settings: Settings, now: float) -> tuple[Metrics, Assessment, HealthState]:
    before = health_record.read_state(db)
    metrics, sizes, unreadable = measure(db, settings, now)
    for key in unreadable:
        _log.warning("[!] [health] Error checking '%s': it does not hold what it should", on_one_line(key))
    purge = batches.read_state(db)
    state = HealthState(
        last_check=now,
        purge_expected=_purge_expected(settings, before, purge, now),
        empty_since=_empty_since(before, metrics, sizes, now),
        dlq_errors=measure_errors(db, metrics.dead_letters),
    )
    around = Circumstances(
        now=now,
        purge=_purge_history(settings, purge, state),
        health=CycleHistory(
            enabled=settings.config.health_check_enabled,
            interval_seconds=settings.config.health_check_interval,
            last_run=before.last_check,
            first_expected=before.last_check or now,
        ),
        dlq_max_entries=settings.config.dlq_max_entries,
        empty_pool_grace=settings.config.empty_pool_grace,
        empty_seconds={pool: now - since for pool, since in state.empty_since.items()},
        unreadable_keys=len(unreadable),
        purge_max_percent=settings.config.purge_max_percent,
        **_manager(db, settings, now),
    )
    return metrics, assess(metrics, settings.config.health_thresholds, around), state


def _manager(db: Database, settings: Settings, now: float) -> dict[str, Any]:
    """What the pool manager's part of the verdict needs, where this is the pool manager."""
    if not settings.config.manage_pools:
        return {}

    def recent(alone: list[Suspension]) -> dict[str, int]:
        seconds = settings.config.breaker_seconds
        return {one.name: one.failures for one in alone if breakers.is_suspended(one.suspended_until, now, seconds)}

    return {
        "open_breakers": recent(breakers.suspended_providers(db, settings.providers)),
        "broken_pools": recent(breakers.suspended_pools(db, (pool.name for pool in settings.pools))),
        "breaker_failures": settings.config.breaker_failures,
        "other_managers": other_manager.recent_sightings(db),
    }


def _purge_expected(settings: Settings, before: HealthState, purge: PurgeState, now: float) -> float | None:
    """Since when a purge may be expected: since checks see it switched on, or it ran before the first check."""
    if not settings.config.purge_enabled:
        return None
    if before.purge_expected is not None:
        return before.purge_expected
    return purge.finished if before.last_check is None and purge.finished is not None else now


def _empty_since(before: HealthState, metrics: Metrics, sizes: Mapping[str, int], now: float) -> dict[str, float]:
    empty = [name for name, pool in metrics.pools.items() if sizes.get(name, 0) > 0 and pool.ready.size == 0]
    return {pool: before.empty_since.get(pool, now) for pool in empty}


def _purge_history(settings: Settings, purge: PurgeState, state: HealthState) -> CycleHistory:
    return CycleHistory(
        enabled=settings.config.purge_enabled,
        interval_seconds=settings.config.purge_interval,
        last_run=purge.finished,
        first_expected=state.purge_expected or 0,
        unfinished_since=purge.unfinished_since,
        failure=purge.failure,
        spared=purge.spared,
    )


def _recorded(
    db: Database, settings: Settings, now: float, metrics: Metrics, verdict: Assessment, state: HealthState
) -> Assessment:
    try:
        health_record.write(
            db,
            now=now,
            fields=_fields(now, metrics, verdict),
            expires_in=max(SHORTEST_EXPIRY, 3 * settings.config.health_check_interval),
            check=KeptCheck.measured(now, metrics, verdict),
            state=state,
        )
    except StoreRefusedError as error:
        _log.error("[!] [health] Failed during health check: %s", error)
        refused = Reason("not_recorded", Status.UNHEALTHY, 1, 0)
        return replace(verdict, status=Status.UNHEALTHY, reasons=(refused, *verdict.reasons))
    return verdict


def _fields(now: float, metrics: Metrics, verdict: Assessment) -> dict[str, str]:
    return {
        "status": str(verdict.status),
        "last_check": iso_utc(now),
        "metrics": _json(metrics.nested()),
        "stuck_vm_count": str(metrics.stuck_vm_count),
        "dlq_total_size": str(metrics.dlq_total_size),
        "orphaned_metadata_count": str(metrics.orphaned_metadata),
        "reasons": _json([reason.as_json() for reason in verdict.reasons]),
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_DIED = {"purge_overdue": "queue_purge", "health_overdue": "health_check"}


def _say(verdict: Assessment, metrics: Metrics) -> None:
    level = logging.INFO if verdict.status is Status.HEALTHY else logging.WARNING
    _log.log(level, "%s", status_line(verdict.status, metrics), extra={"status": str(verdict.status)})
    for reason in verdict.reasons:
        found, remedy = map(on_one_line, explain(reason))  # pools are named by whoever writes to Redis
        named = {"pool": reason.pool, "queue": reason.queue, "provider": reason.provider}
        about = {"reason": reason.code, **{name: value for name, value in named.items() if value}}
        if reason.code in _DIED:
            _log.error("[!] [%s] worker thread died: %s", _DIED[reason.code], found, extra=about)
        else:
            _log.warning("[!] [health] %s: %s; %s", reason.severity, found, remedy, extra=about)
