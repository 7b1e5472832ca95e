"""One health check: measure, assess, record, log. The operator guide's section: Health Checks."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import StoreRefusedError, VmpoolerTasksError, WrongTypeError
from vmpooler_tasks.jobs.health import changes, pool_facts, removed_facts, work_facts
from vmpooler_tasks.jobs.health.changes import Watched
from vmpooler_tasks.jobs.health.measure import count_error_classes, measure
from vmpooler_tasks.jobs.health.read import epoch_of, reasons_seen
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.model.health.assessment import Assessment, Circumstances, CycleHistory, assess
from vmpooler_tasks.model.health.explanation import default_reason, explain
from vmpooler_tasks.model.health.history import KeptCheck
from vmpooler_tasks.model.health.metrics import HealthMetrics, status_line
from vmpooler_tasks.model.health.overlay import overlaid
from vmpooler_tasks.model.health.reasons import ReasonCode, kind_of_reason
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line, readable
from vmpooler_tasks.model.timestamps import iso_utc, parse_time
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.deadletters.trim import count_bytes
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.store.health.record import HealthState
from vmpooler_tasks.store.purge import state as purge_state
from vmpooler_tasks.store.purge.state import PurgeState
from vmpooler_tasks.store.redis.wrong_keys import find_own_wrong_keys, set_aside

_log = logging.getLogger("vmpooler_tasks.health")

MIN_STATUS_EXPIRY_SECONDS = 3600

FOREIGN_STATUS_SECONDS = 3600
"""With `observe_only`, a status of another program is replaced only if it is older."""

Publish = Callable[[HealthMetrics, Assessment, float], None]
"""Takes the result of each check: what was measured, how it was assessed, and when, in seconds since the epoch."""


def run(
    db: Database,
    settings: Settings,
    clock: Clock,
    *,
    forced: bool = False,
    is_scheduled: bool = True,
    publish: Publish | None = None,
    broker: Database | None = None,
) -> HealthReport | None:
    """Check health and record the result. Return None if health checks are switched off and this one is not `forced`.

    `is_scheduled`: beat requested this check. Only such a check keeps the status from becoming stale. `publish` gets
    the result; it must not fail, nor take long. `broker` as in `read.broker_or_own`. If Redis refuses to record the
    status, it is unhealthy (`not_recorded`). Raises the error that made the check fail.
    """
    if not settings.config.health_check_enabled and not forced:
        _log.warning("[*] [health] Skipped health check: it is switched off (health_check_enabled: false)")
        return None
    started, now = time.perf_counter(), clock()
    _log.info("[*] [health] Running queue health check")
    try:
        set_aside(db, find_own_wrong_keys(db))
        for queue in DeadLetterQueue if settings.config.dlq_enabled else ():
            with suppress(WrongTypeError):  # which the check reports
                count_bytes(db, queue, settings.config.dlq_max_bytes)
        seen = changes.read_watched(db, settings, now, broker)
        metrics, assessment, state = _check(db, settings, now, seen, is_scheduled)
    except Exception as error:
        # Any error, also a time limit or a bug: the log must show that the check failed.
        why = str(error) if isinstance(error, VmpoolerTasksError) else f"{type(error).__name__}: {error}"
        _log.error("[!] [health] Failed during health check: %s", why)
        raise
    assessment = _record(db, seen, metrics, assessment, state)
    _log_assessment(assessment, metrics, now)
    if publish:
        publish(metrics, assessment, now)
    return HealthReport(
        assessment,
        iso_utc(now),
        metrics.as_json(),
        time.perf_counter() - started,
        None if state.last_scheduled_check is None else iso_utc(state.last_scheduled_check),
    )


def _check(
    db: Database, settings: Settings, now: float, seen: Watched, is_scheduled: bool
) -> tuple[HealthMetrics, Assessment, HealthState]:
    before, measurement = health_record.read_state(db), measure(db, settings, now)
    metrics = measurement.metrics
    for key in measurement.unreadable:
        _log.warning("[!] [health] Error checking '%s': it is of another type, or holds other data", on_one_line(key))
    purge, suspended, manager_watch = purge_state.read(db), seen.suspended, seen.manager_watch
    stopped = pool_facts.stopped_pools(measurement.pools, settings, suspended)
    state = HealthState(
        last_check=now,
        last_scheduled_check=now if is_scheduled else epoch_of(seen.found, "last_scheduled_check"),
        purge_expected=_purge_expected(settings, before, purge, now),
        empty_since=pool_facts.empty_since(measurement, before, now),
        work_expected_since=seen.work.expected_since,
        dlq_errors=count_error_classes(db, metrics.dead_letters),
    )
    facts = Circumstances(
        now=now,
        purge=_purge_history(settings, purge, state),
        health=_health_history(settings, before, now),
        dlq_max_entries=settings.config.dlq_max_entries,
        empty_pool_grace=settings.config.empty_pool_grace,
        pools_in_use=pool_facts.pools_in_use(measurement, state, stopped, seen.work, now),
        unreadable_keys=measurement.unreadable,
        double_queued=measurement.double_queued,
        wrong_keys={readable(one.key): one.mismatch for one in measurement.wrong_keys},
        set_aside_keys={readable(one.key): one.mismatch for one in seen.set_aside},
        purge_max_percent=settings.config.purge_max_percent,
        suspended_providers=suspended.providers,
        suspended_pools=suspended.pools,
        recycled_pools=seen.recycled,
        breaker_failures=settings.config.breaker_failures,
        brakes=seen.brakes,
        foreign=seen.foreign,
        failing_dns=seen.failing_dns,
        manager_watch=manager_watch,
        # Another manager makes these workers do nothing, which is a reason of its own.
        stalled=() if manager_watch.is_other_seen else seen.stalled,
        stalled_after_seconds=work_facts.stalled_after_seconds(settings),
        removed_pools=removed_facts.removed_pools(db, settings, measurement, seen.found),
        drain_rules=settings.drain_rules,
    )
    assessment = assess(metrics, settings.config.health_thresholds, facts)
    return metrics, overlaid(assessment, reasons_seen(seen.found, settings, now, state)), state


def _purge_expected(settings: Settings, before: HealthState, purge: PurgeState, now: float) -> float | None:
    """Return since when a purge is expected: since checks saw it switched on, or its last run before."""
    if not settings.config.purge_enabled:
        return None
    if before.purge_expected is not None:
        return before.purge_expected
    return purge.finished if before.last_check is None and purge.finished is not None else now


def _purge_history(settings: Settings, purge: PurgeState, state: HealthState) -> CycleHistory:
    return CycleHistory(
        enabled=settings.config.purge_enabled,
        interval_seconds=settings.config.purge_interval,
        last_run=purge.finished,
        first_expected=state.purge_expected or 0,
        unfinished_since=purge.unfinished_since,
        failure=purge.failure,
        skipped_queues=purge.skipped_queues,
    )


def _health_history(settings: Settings, before: HealthState, now: float) -> CycleHistory:
    return CycleHistory(
        enabled=settings.config.health_check_enabled,
        interval_seconds=settings.config.health_check_interval,
        last_run=before.last_scheduled_check,
        first_expected=before.last_scheduled_check or now,
    )


def _record(
    db: Database, seen: Watched, metrics: HealthMetrics, assessment: Assessment, state: HealthState
) -> Assessment:
    """Record the result; return the assessment, unhealthy if Redis refused to record it."""
    now, config = state.last_check or 0.0, seen.settings.config
    fields = _fields(state, metrics, assessment)
    expires_in = max(MIN_STATUS_EXPIRY_SECONDS, 3 * config.health_check_interval)
    try:
        health_record.record_check(
            db,
            now=now,
            fields=fields,
            expires_in=expires_in,
            prolongs=state.last_scheduled_check == now,
            check=KeptCheck.measured(now, metrics, assessment),
            state=state,
            facts=seen.as_record(state),
            is_observing=config.observe_only,
        )
        if config.observe_only:
            _offer_status(db, now, fields, expires_in)
    except StoreRefusedError as error:
        _log.error("[!] [health] Failed during health check: %s", error)
        refused = default_reason(ReasonCode.NOT_RECORDED, 1)
        return replace(assessment, status=refused.severity, reasons=(refused, *assessment.reasons))
    return assessment


def _offer_status(db: Database, now: float, fields: Mapping[str, str], expires_in: float) -> None:
    """Write `vmpooler__health` as well, if no other program has written it in the last hour."""
    try:
        last_check = health_record.read_status(db).get("last_check", "")
        checked = parse_time(last_check.encode())
        is_old = checked is not None and now - checked.timestamp() > FOREIGN_STATUS_SECONDS
        health_record.offer_status(db, fields, expires_in=expires_in, replaceable=last_check if is_old else "")
    except WrongTypeError as error:
        _log.warning("[!] [health] vmpooler__health is left as it is: %s", on_one_line(str(error)))


def _fields(state: HealthState, metrics: HealthMetrics, assessment: Assessment) -> dict[str, str]:
    times = {"last_check": state.last_check, "last_scheduled_check": state.last_scheduled_check}
    return {
        "status": str(assessment.status),
        **{name: iso_utc(epoch) for name, epoch in times.items() if epoch is not None},
        "metrics": _json(metrics.as_json()),
        "stuck_vm_count": str(metrics.stuck_vm_count),
        "dlq_total_size": str(metrics.dlq_total_size),
        "orphaned_metadata_count": str(metrics.orphaned_metadata),
        "reasons": _json([reason.as_json() for reason in assessment.reasons]),
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _log_assessment(assessment: Assessment, metrics: HealthMetrics, now: float) -> None:
    level = logging.INFO if assessment.status is Status.HEALTHY else logging.WARNING
    _log.log(level, "%s", status_line(assessment.status, metrics), extra={"status": str(assessment.status)})
    for reason in assessment.reasons:
        found, remedy = explain(reason, now)
        extra = {"reason": str(reason.code), **reason.about()}
        if thread := kind_of_reason(reason.code).thread:
            _log.error("[!] [%s] worker thread died: %s; %s", thread, found, remedy, extra=extra)
        else:
            _log.warning("[!] [health] %s: %s; %s", reason.severity, found, remedy, extra=extra)
