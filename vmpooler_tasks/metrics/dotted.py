"""The dotted names of docs/operator-guide.md (Exposed Metrics), for StatsD and Graphite."""

import re
from collections.abc import Iterator

from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.metrics import HealthMetrics, PoolMetrics
from vmpooler_tasks.model.names import DeadLetterQueue

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NOT_IN_PATHS = re.compile(r"[^A-Za-z0-9_.-]")


def dotted(metrics: HealthMetrics, assessment: Assessment, prefix: str) -> dict[str, int]:
    """Return name → value. No value is negative: StatsD would add a negative value to the last one."""
    path = _NOT_IN_PATHS.sub("_", prefix).strip(".")
    start = f"{path}.health" if path else "health"
    return {f"{start}.{name}": max(int(value), 0) for name, value in _named(metrics, assessment)}


def path_part(name: str) -> str:
    """Return a pool's name as one part of a path: every character that has a meaning for a server becomes `_`."""
    return _NOT_IN_NAMES.sub("_", name)


def _named(metrics: HealthMetrics, assessment: Assessment) -> Iterator[tuple[str, int]]:
    yield "status", assessment.status
    yield "dlq.total_size", metrics.dlq_total_size
    yield "stuck_vms.count", metrics.stuck_vm_count
    yield "orphaned_metadata.count", metrics.orphaned_metadata
    for name, pool in metrics.pools.items():
        for measure, value in _of_pool(pool):
            yield f"queue.{path_part(name)}.{measure}", value
    for queue in DeadLetterQueue:  # empty queues, too: a graph would keep its last value
        yield f"dlq.{queue}.size", metrics.dead_letters.get(queue, 0)
    yield "tasks.clone.active", metrics.active_clones
    yield "tasks.ondemand.active", metrics.active_ondemand_clones
    yield "tasks.ondemand.pending", metrics.pending_ondemand_clones


def _of_pool(pool: PoolMetrics) -> Iterator[tuple[str, int]]:
    yield "pending.size", pool.pending.size
    yield "pending.oldest_age", pool.pending.oldest_age
    yield "pending.stuck_count", pool.pending.stuck_count
    yield "ready.size", pool.ready.size
    yield "ready.oldest_age", pool.ready.oldest_age
    yield "completed.size", pool.completed
