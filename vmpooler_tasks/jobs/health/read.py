"""Read the health status: what the last check recorded, and what this reader sees itself at this moment.

Every reader (command, API, page, metrics, `doctor`) uses this module, so that they agree. VMPooler writes the same key:
no value in it is trusted.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.model.health.assessment import (
    Assessment,
    bytes_reasons,
    dead_letter_reasons,
    is_stale,
    stale_reason,
    unreadable_assessment,
)
from vmpooler_tasks.model.health.explanation import HealthReason
from vmpooler_tasks.model.health.fleet_reasons import FleetFacts, fleet_reasons
from vmpooler_tasks.model.health.metrics import with_dead_letters
from vmpooler_tasks.model.health.overlay import overlaid
from vmpooler_tasks.model.health.parsing import parse_metrics, parse_reasons
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import MAINTENANCE_QUEUE, WORK_QUEUES
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.health import snapshot
from vmpooler_tasks.store.health.record import HealthState
from vmpooler_tasks.store.health.snapshot import StatusSnapshot

T = TypeVar("T")


def read_report(db: Database, settings: Settings, clock: Clock, broker: Database | None = None) -> HealthReport:
    """Return the health status of this moment. `broker` as in `broker_or_own`. Raises StoreUnavailableError."""
    started, now = time.perf_counter(), clock()
    found = snapshot.read_status(
        db,
        queues=WORK_QUEUES,
        broker=broker_or_own(db, settings, broker),
        is_observing=settings.config.observe_only,
    )
    return replace(report_of(found, settings, now), duration_seconds=time.perf_counter() - started)


def broker_or_own(db: Database, settings: Settings, broker: Database | None) -> Database | None:
    """Return the Redis with Celery's messages: `broker`, or `db` if the configuration names no other one, else None.

    Without it the waiting messages are not known.
    """
    return broker or (db if settings.broker_url is None else None)


def report_of(found: StatusSnapshot, settings: Settings, now: float) -> HealthReport:
    """Return the report of a status that was already read."""
    last_check = epoch_of(found, "last_check")
    if found.health is None:
        recorded, metrics = unreadable_assessment(1), dict[str, Any]()
    elif is_stale(last_check, now, settings.config.health_check_interval):
        recorded, metrics = Assessment(Status.HEALTHY, ()), _parse(found.health)[1]  # its reasons are too old
    else:
        recorded, metrics = _parse(found.health)
    fields = found.health or {}
    return HealthReport(
        overlaid(recorded, reasons_seen(found, settings, now)),
        fields.get("last_check"),
        with_dead_letters(metrics, found.dlq_sizes) if metrics and settings.config.dlq_enabled else metrics,
        last_scheduled_check=fields.get("last_scheduled_check"),
    )


def reasons_seen(
    found: StatusSnapshot, settings: Settings, now: float, checked: HealthState | None = None
) -> Iterator[HealthReason]:
    """Return the reasons that this reader sees itself.

    They are a status that is not renewed, missing processes, wrong clocks, and the number of dead letters.

    `checked`: the times of the check that runs now, instead of the recorded ones. Where health checks are switched off,
    beat requests none: the last check of any kind counts.
    """
    config = settings.config
    last_check = checked.last_check if checked else epoch_of(found, "last_check")
    scheduled = checked.last_scheduled_check if checked else epoch_of(found, "last_scheduled_check")
    if found.health is None and checked is None:
        last_check = scheduled = now  # it cannot be read, which is another reason
    for epoch in dict.fromkeys((scheduled, last_check) if config.health_check_enabled else (last_check,)):
        if is_stale(epoch, now, config.health_check_interval):
            yield stale_reason(epoch, now, config.health_check_interval)
            break
    if config.dlq_enabled:
        yield from dead_letter_reasons(found.dlq_sizes, config.health_thresholds, config.dlq_max_entries)
        yield from bytes_reasons(found.dlq_bytes, config.dlq_max_bytes)
    yield from fleet_reasons(
        FleetFacts(
            fleet=found.fleet,
            needed_queues=WORK_QUEUES if config.manage_pools else (MAINTENANCE_QUEUE,),
            waiting=found.messages.waiting if found.messages else {},
            is_scheduled=config.purge_enabled or config.health_check_enabled or config.manage_pools,
            knows_pools=bool(settings.pools or found.registered_pools),
        )
    )


def epoch_of(found: StatusSnapshot, name: str) -> float | None:
    """Return a time of the recorded status, in seconds since the epoch; None if it is missing or cannot be read."""
    time_read = parse_time((found.health or {}).get(name, "").encode())
    return time_read.timestamp() if time_read else None


def _parse(fields: Mapping[str, str]) -> tuple[Assessment, dict[str, Any]]:
    known = {str(status): status for status in Status}
    status = known.get(fields.get("status", ""))
    reasons = _parsed(parse_reasons, fields.get("reasons", "[]"))
    metrics = _parsed(parse_metrics, fields.get("metrics", "{}"))
    unreadable = sum(part is None for part in (status, reasons, metrics))
    if status is None or reasons is None or unreadable:
        return unreadable_assessment(unreadable), metrics or {}
    return Assessment(status, reasons), metrics or {}


def _parsed(parse: Callable[[str], T], text: str) -> T | None:
    try:
        return parse(text)
    except ValueError:
        return None
