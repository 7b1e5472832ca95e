"""What the last health check found, for Prometheus. The names are the guide's, where its alerts name one."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from prometheus_client.core import Metric

from vmpooler_tasks.jobs.health.check import HealthReport
from vmpooler_tasks.metrics.families import Labelled, gauge, gauges
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.timestamps import parse_time

MOST_REASONS = 1000
"""Anybody can write them."""


def status(value: Status) -> Metric:
    return gauge("vmpooler_health_status", "The verdict: 0 healthy, 1 degraded, 2 unhealthy or out of date.", value)


def families(report: HealthReport, dlq_errors: Mapping[str, Mapping[str, int]]) -> Iterator[Metric]:
    """Without a sample where the record does not have it."""
    yield status(report.verdict.status)
    checked = parse_time((report.last_check or "").encode())
    yield gauge(
        "vmpooler_health_last_check_timestamp_seconds",
        "When the last health check ran.",
        checked.timestamp() if checked else None,
    )
    yield gauges(
        "vmpooler_health_reason",
        "1 for each reason why health is not perfect.",
        ("reason", "severity", "pool", "queue"),
        islice(_reasons(report), MOST_REASONS),
    )
    yield from _totals(report.metrics)
    yield from _pools(_part(report.metrics, "queues"))
    yield gauges(
        "vmpooler_health_dlq_errors",
        "Dead letters by class of error; the rarest as other.",
        ("queue", "error_class"),
        (
            ((str(queue), name), count)
            for queue in DeadLetterQueue
            for name, count in dlq_errors.get(str(queue), {}).items()
        ),
    )


def _reasons(report: HealthReport) -> Iterator[Labelled]:
    for reason in report.verdict.reasons:
        yield (reason.code, str(reason.severity), reason.pool or "", reason.queue or ""), 1


def _totals(metrics: Mapping[str, Any]) -> Iterator[Metric]:
    errors, tasks = _part(metrics, "errors"), _part(metrics, "tasks")
    ondemand = _part(tasks, "ondemand")
    yield gauge("vmpooler_health_dlq_total_size", "Dead letters in all queues.", errors.get("dlq_total_size"))
    letters = _part(_part(metrics, "queues"), "dlq")
    yield gauges(
        "vmpooler_health_dlq_size",
        "Dead letters.",
        ("queue",),
        (((str(queue),), _part(letters, queue).get("size", 0)) for queue in DeadLetterQueue if metrics),
    )
    yield gauge("vmpooler_health_stuck_vms_count", "VMs pending for too long.", errors.get("stuck_vm_count"))
    yield gauge(
        "vmpooler_health_orphaned_metadata_count",
        "Metadata of VMs that are in no queue.",
        errors.get("orphaned_metadata_count"),
    )
    yield gauge(
        "vmpooler_health_tasks_clone_active", "Clones in flight for pools.", _part(tasks, "clone").get("active")
    )
    yield gauge(
        "vmpooler_health_tasks_ondemand_active", "Clones in flight for on-demand requests.", ondemand.get("active")
    )
    yield gauge(
        "vmpooler_health_tasks_ondemand_pending",
        "Items of on-demand requests that wait for their clones.",
        ondemand.get("pending"),
    )


def _pools(queues: Mapping[str, Any]) -> Iterator[Metric]:
    pools = {name: pool for name in queues if "completed" in (pool := _part(queues, name))}  # the letters have none
    for measure, unit, what, measured in (
        ("size", "", "VMs in a pool's queue.", ("pending", "ready", "completed")),
        ("oldest_age", "_seconds", "Age of the oldest VM in a pool's queue.", ("pending", "ready")),
        ("stuck_count", "", "VMs that have been in a pool's queue for too long.", ("pending",)),
    ):
        samples = (
            ((name, queue), _part(pool, queue).get(measure)) for name, pool in pools.items() for queue in measured
        )
        yield gauges(f"vmpooler_health_queue_{measure}{unit}", what, ("pool", "queue"), samples)


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Empty where it is missing, or nested otherwise."""
    part = whole.get(name)
    return part if isinstance(part, dict) else {}
