"""What the last health check found, for Prometheus."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from prometheus_client.core import Metric

from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.metrics.families import Labelled, bounded, family, single
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.timestamps import parse_time

MAX_REASONS = 1000
MAX_POOLS = 20_000
"""Anyone who writes to Redis can add reasons and pools."""

_QUEUE_METRICS = (
    ("vmpooler_health_queue_size", "size", ("pending", "ready", "completed")),
    ("vmpooler_health_queue_oldest_age_seconds", "oldest_age", ("pending", "ready")),
    ("vmpooler_health_queue_stuck_count", "stuck_count", ("pending",)),
)


def status(value: Status) -> Metric:
    return single("vmpooler_health_status", value)


def families(report: HealthReport, dlq_errors: Mapping[str, Mapping[str, int]]) -> Iterator[Metric]:
    """Return all families of this module. A family lacks the samples that the record lacks."""
    yield status(report.assessment.status)
    checked = parse_time((report.last_check or "").encode())
    yield single("vmpooler_health_last_check_timestamp_seconds", checked.timestamp() if checked else None)
    yield family("vmpooler_health_reason", islice(_reasons(report), MAX_REASONS))
    yield from _totals(report.metrics)
    yield from _pools(_part(report.metrics, "queues"))
    yield family(
        "vmpooler_health_dlq_errors",
        (
            ((str(queue), name), count)
            for queue in DeadLetterQueue
            for name, count in bounded(dlq_errors.get(str(queue), {})).items()
        ),
    )


def _reasons(report: HealthReport) -> Iterator[Labelled]:
    for reason in report.assessment.reasons:
        yield (str(reason.code), str(reason.severity), reason.pool or "", reason.queue or ""), 1


def _totals(metrics: Mapping[str, Any]) -> Iterator[Metric]:
    errors, tasks = _part(metrics, "errors"), _part(metrics, "tasks")
    ondemand = _part(tasks, "ondemand")
    yield single("vmpooler_health_dlq_total_size", errors.get("dlq_total_size"))
    dead_letters = _part(_part(metrics, "queues"), "dlq")
    yield family(
        "vmpooler_health_dlq_size",
        (((str(queue),), _part(dead_letters, queue).get("size", 0)) for queue in DeadLetterQueue if metrics),
    )
    yield single("vmpooler_health_stuck_vms_count", errors.get("stuck_vm_count"))
    yield single("vmpooler_health_orphaned_metadata_count", errors.get("orphaned_metadata_count"))
    yield single("vmpooler_health_tasks_clone_active", _part(tasks, "clone").get("active"))
    yield single("vmpooler_health_tasks_ondemand_active", ondemand.get("active"))
    yield single("vmpooler_health_tasks_ondemand_pending", ondemand.get("pending"))


def _pools(queues: Mapping[str, Any]) -> Iterator[Metric]:
    # The dead letters stand in `queues`, too, and have no completed VMs.
    found = ((name, pool) for name in queues if "completed" in (pool := _part(queues, name)))
    pools = dict(islice(found, MAX_POOLS))
    for metric, measure, measured in _QUEUE_METRICS:
        samples = (
            ((name, queue), _part(pool, queue).get(measure)) for name, pool in pools.items() for queue in measured
        )
        yield family(metric, samples)


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the part of this name; empty where it is missing, or not a mapping."""
    part = whole.get(name)
    return part if isinstance(part, dict) else {}
