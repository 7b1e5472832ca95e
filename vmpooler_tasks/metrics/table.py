"""Every metric for Prometheus, in one table: name, type, labels, help. docs/metrics.md describes the same metrics.

The names in the operator guide's alerts stay as the guide prints them. Add a metric here, in docs/metrics.md, and where
its value is read (`live` for what Redis holds, `recorded` for what the last health check found).
"""

from dataclasses import dataclass
from enum import StrEnum


class MetricType(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric; the name of a counter ends in `_total`."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str


def _gauge(name: str, help_text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, MetricType.GAUGE, labels, help_text)


def _counter(name: str, help_text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, MetricType.COUNTER, labels, help_text)


def _histogram(name: str, help_text: str) -> MetricSpec:
    return MetricSpec(name, MetricType.HISTOGRAM, (), help_text)


_ALL = (
    # What is configured.
    _gauge("vmpooler_build_info", "The version of vmpooler-tasks.", "version"),
    _gauge("vmpooler_purge_interval_seconds", "Seconds between two purge cycles."),
    _gauge("vmpooler_health_check_interval_seconds", "Seconds between two health checks."),
    _gauge("vmpooler_dlq_max_entries", "Maximum number of dead letters in each queue."),
    _gauge("vmpooler_dlq_max_bytes", "Maximum bytes of dead letters in each queue."),
    # What the last health check found.
    _gauge("vmpooler_health_status", "Health status: 0 healthy, 1 degraded, 2 unhealthy or stale."),
    _gauge("vmpooler_health_last_check_timestamp_seconds", "Time of the last health check."),
    _gauge(
        "vmpooler_health_reason",
        "1 for each reason why health is degraded or unhealthy.",
        *("reason", "severity", "pool", "queue"),
    ),
    _gauge("vmpooler_health_dlq_total_size", "Dead letters in all queues."),
    _gauge("vmpooler_health_dlq_size", "Dead letters in a queue.", "queue"),
    _gauge(
        "vmpooler_health_dlq_errors",
        "Dead letters by class of error; the least frequent classes together as other.",
        *("queue", "error_class"),
    ),
    _gauge("vmpooler_health_stuck_vms_count", "VMs that have been pending for too long."),
    _gauge("vmpooler_health_orphaned_metadata_count", "Metadata of VMs that are in no queue."),
    _gauge("vmpooler_health_queue_size", "VMs in a queue of a pool.", "pool", "queue"),
    _gauge("vmpooler_health_queue_oldest_age_seconds", "Age of the oldest VM in a queue of a pool.", "pool", "queue"),
    _gauge("vmpooler_health_queue_stuck_count", "VMs that have been in a queue for too long.", "pool", "queue"),
    _gauge("vmpooler_health_tasks_clone_active", "Clones in progress for pools."),
    _gauge("vmpooler_health_tasks_ondemand_active", "Clones in progress for on-demand requests."),
    _gauge("vmpooler_health_tasks_ondemand_pending", "Items of on-demand requests that wait for their clones."),
    # What Redis holds now.
    _gauge("vmpooler_redis_up", "1 if Redis replies."),
    _gauge("vmpooler_dlq_size", "Dead letters in a queue.", "queue"),
    _gauge("vmpooler_dlq_bytes", "Bytes of the dead letters in a queue, as last counted.", "queue"),
    _gauge("vmpooler_pool_size", "VMs that a pool shall have ready.", "pool"),
    _gauge("vmpooler_pool_vms", "VMs in a queue of a pool.", "pool", "queue"),
    _gauge(
        "vmpooler_pool_foreign_vms",
        "VMs of a pool's inventory in no queue and without the mark of this installation.",
        "pool",
    ),
    _gauge(
        "vmpooler_pool_breaker_open",
        "1 if the circuit breaker suspends a pool because its clones or checks fail.",
        "pool",
    ),
    _gauge(
        "vmpooler_provider_breaker_open",
        "1 if the circuit breaker suspends a provider because it fails.",
        "provider",
    ),
    _gauge(
        "vmpooler_dns_failures",
        "Calls in a row to the DNS server of an entry of :dns_configs: that failed.",
        "entry",
    ),
    _gauge("vmpooler_orders_waiting", "Orders of users for their VMs that wait, by kind.", "order"),
    _gauge("vmpooler_purge_last_start_timestamp_seconds", "Start of the last purge cycle."),
    _gauge("vmpooler_purge_last_end_timestamp_seconds", "End of the last purge cycle."),
    _gauge("vmpooler_celery_queue_messages", "Messages that wait for a worker, of any priority.", "queue"),
    _gauge("vmpooler_celery_unacknowledged_messages", "Messages that workers hold, of all queues."),
    _gauge("vmpooler_workers", "Live workers that take messages from a queue.", "queue"),
    _gauge("vmpooler_beats", "Live beats."),
    _gauge("vmpooler_schedule_last_tick_timestamp_seconds", "Time when a schedule entry was last sent.", "entry"),
    # What was done so far.
    _counter("vmpooler_dlq_letters_total", "Dead letters that were added, by class of error.", "queue", "error_class"),
    _counter("vmpooler_dlq_dropped_total", "Dead letters that were dropped because the queue was full.", "queue"),
    _counter("vmpooler_dlq_expired_total", "Dead letters that expired.", "queue"),
    _counter("vmpooler_dlq_redriven_total", "Dead letters that were redriven.", "queue"),
    _counter("vmpooler_dlq_obsolete_total", "Dead letters that a redrive closed as obsolete.", "queue"),
    _counter("vmpooler_dlq_deleted_total", "Dead letters that were deleted by hand.", "queue"),
    _counter("vmpooler_purged_total", "Entries that were purged; orphaned metadata has no pool.", "queue", "pool"),
    _counter("vmpooler_purge_cycles_total", "Purge cycles, also of a part of the queues.", "result"),
    _histogram("vmpooler_purge_duration_seconds", "Duration of whole purge cycles that did not fail."),
    _counter("vmpooler_vms_destroyed_total", "VMs that were destroyed."),
    _counter("vmpooler_clones_failed_total", "Clones that failed."),
    _counter("vmpooler_vms_failed_total", "VMs that failed after they were cloned, by their queue.", "queue"),
    _counter("vmpooler_orders_done_total", "Orders of users for their VMs that were carried out, by kind.", "order"),
    _counter("vmpooler_orders_failed_total", "Orders of users for their VMs that failed, by kind.", "order"),
    _counter("vmpooler_requests_failed_total", "On-demand requests that a purge failed because of their age."),
    _counter(
        "vmpooler_notifications_total",
        "Attempts to notify a target: delivered, failed (and tried again), or dropped.",
        *("target", "result"),
    ),
)

METRICS = {spec.name: spec for spec in _ALL}
