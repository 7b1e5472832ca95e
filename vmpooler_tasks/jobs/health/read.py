"""The recorded verdict, for those who only read it. VMPooler writes the same key: nothing in it is taken on trust."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.health.check import HealthReport
from vmpooler_tasks.model.health.status import (
    Assessment,
    Status,
    is_stale,
    read_metrics,
    read_reasons,
    stale_assessment,
    unreadable_assessment,
)
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.health import record as health_record

T = TypeVar("T")


def read(db: Database, settings: Settings, clock: Clock) -> HealthReport:
    """Unhealthy if there is none, or it was not renewed in time (`stale`), or cannot be read (`unreadable`)."""
    begun, now = time.perf_counter(), clock()
    try:
        fields = health_record.read_status(db)
    except WrongTypeError:
        fields = None
    return replace(judge(fields, settings, now), duration_seconds=time.perf_counter() - begun)


def judge(fields: Mapping[str, str] | None, settings: Settings, now: float) -> HealthReport:
    """The same of a verdict as it was read; None: its key is no hash."""
    if fields is None:
        return HealthReport(unreadable_assessment(1), None, {})
    verdict, metrics = _understood(fields)
    checked = parse_time(fields.get("last_check", "").encode())
    epoch = checked.timestamp() if checked else None
    interval = settings.config.health_check_interval
    if is_stale(epoch, now, interval):
        verdict = stale_assessment(epoch, now, interval)
    return HealthReport(verdict, fields.get("last_check"), metrics)


def _understood(fields: Mapping[str, str]) -> tuple[Assessment, Mapping[str, Any]]:
    known = {str(status): status for status in Status}
    status = known.get(fields.get("status", ""))
    reasons = _read(read_reasons, fields.get("reasons", "[]"))
    metrics = _read(read_metrics, fields.get("metrics", "{}"))
    unreadable = sum(part is None for part in (status, reasons, metrics))
    if status is None or reasons is None or unreadable:
        return unreadable_assessment(unreadable), metrics or {}
    return Assessment(status, reasons), metrics or {}


def _read(reader: Callable[[str], T], text: str) -> T | None:
    try:
        return reader(text)
    except ValueError:
        return None
