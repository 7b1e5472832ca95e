"""Read the recorded health status. VMPooler writes the same key: no value in it is trusted."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.health.check import HealthReport
from vmpooler_tasks.model.health.assessment import Assessment, is_stale, stale_assessment, unreadable_assessment
from vmpooler_tasks.model.health.parsing import parse_metrics, parse_reasons
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.health import record as health_record

T = TypeVar("T")


def read_report(db: Database, settings: Settings, clock: Clock) -> HealthReport:
    """Return the recorded status: unhealthy if it is missing or too old (`stale`), or cannot be read (`unreadable`)."""
    started, now = time.perf_counter(), clock()
    try:
        fields = health_record.read_status(db, is_observing=settings.config.observe_only)
    except WrongTypeError:
        fields = None
    return replace(report_of(fields, settings, now), duration_seconds=time.perf_counter() - started)


def report_of(fields: Mapping[str, str] | None, settings: Settings, now: float) -> HealthReport:
    """Return the report of a status that was already read; None: its key is not a hash."""
    if fields is None:
        return HealthReport(unreadable_assessment(1), None, {})
    assessment, metrics = _parse(fields)
    checked = parse_time(fields.get("last_check", "").encode())
    epoch = checked.timestamp() if checked else None
    interval = settings.config.health_check_interval
    if is_stale(epoch, now, interval):
        assessment = stale_assessment(epoch, now, interval)
    return HealthReport(assessment, fields.get("last_check"), metrics)


def _parse(fields: Mapping[str, str]) -> tuple[Assessment, Mapping[str, Any]]:
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
