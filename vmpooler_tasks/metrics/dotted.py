"""The guide's dotted names ("Exposed Metrics"), as StatsD and Graphite take them."""

import re
from collections.abc import Iterator

from vmpooler_tasks.model.health.status import Assessment, Metrics, PoolMetrics
from vmpooler_tasks.model.names import DeadLetterQueue

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NOT_IN_PATHS = re.compile(r"[^A-Za-z0-9_.-]")


def dotted(metrics: Metrics, verdict: Assessment, prefix: str) -> dict[str, int]:
    """Name → value. None is below zero: StatsD would take such a value for a change of the last one."""
    before = _NOT_IN_PATHS.sub("_", prefix).strip(".")
    begin = f"{before}.health" if before else "health"
    return {f"{begin}.{name}": max(int(value), 0) for name, value in _named(metrics, verdict)}


def in_a_path(name: str) -> str:
    """A pool's name as one part of a path: whatever has a meaning to either server is a `_`."""
    return _NOT_IN_NAMES.sub("_", name)


def _named(metrics: Metrics, verdict: Assessment) -> Iterator[tuple[str, int]]:
    yield "status", verdict.status
    yield "dlq.total_size", metrics.dlq_total_size
    yield "stuck_vms.count", metrics.stuck_vm_count
    yield "orphaned_metadata.count", metrics.orphaned_metadata
    for name, pool in metrics.pools.items():
        for measure, value in _of_pool(pool):
            yield f"queue.{in_a_path(name)}.{measure}", value
    for queue in DeadLetterQueue:  # empty ones as well, or a graph would stay where it was
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
