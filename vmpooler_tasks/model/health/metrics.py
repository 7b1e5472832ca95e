"""What one health check measured, and how VMPooler nests it in `vmpooler__health`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import DeadLetterQueue


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """One queue of one pool. Ages are in seconds, of the entries whose age is known."""

    size: int = 0
    oldest_age: int = 0
    avg_age: int = 0
    stuck_count: int = 0


def measure_queue(size: int, ages: Sequence[float], stuck_after: float | None = None) -> QueueMetrics:
    """Return the numbers of one queue. `stuck_after` is in seconds; None where nothing counts as stuck.

    Ages and their average are whole seconds, rounded down, as in VMPooler.
    """
    whole = [int(age) for age in ages]
    return QueueMetrics(
        size=size,
        oldest_age=max(whole, default=0),
        avg_age=sum(whole) // len(whole) if whole else 0,
        stuck_count=0 if stuck_after is None else sum(age > stuck_after for age in whole),
    )


@dataclass(frozen=True, slots=True)
class PoolMetrics:
    """The queues of one pool; `completed` is a number of VMs."""

    pending: QueueMetrics = field(default_factory=QueueMetrics)
    ready: QueueMetrics = field(default_factory=QueueMetrics)
    completed: int = 0


@dataclass(frozen=True, slots=True)
class HealthMetrics:
    """What one check measured."""

    pools: Mapping[str, PoolMetrics]
    dead_letters: Mapping[DeadLetterQueue, int]
    orphaned_metadata: int = 0
    active_clones: int = 0
    active_ondemand_clones: int = 0
    pending_ondemand_clones: int = 0

    @property
    def dlq_total_size(self) -> int:
        return sum(self.dead_letters.values())

    @property
    def stuck_vm_count(self) -> int:
        return sum(pool.pending.stuck_count for pool in self.pools.values())

    def as_json(self) -> dict[str, Any]:
        """Return the metrics nested as VMPooler does it in `vmpooler__health`: dead letters stand in `queues`, too."""
        queues: dict[str, Any] = {name: _nested_pool(pool) for name, pool in self.pools.items()}
        sizes = {str(queue): {"size": size} for queue, size in self.dead_letters.items() if size}
        if sizes:
            queues.setdefault("dlq", {}).update(sizes)
        return {
            "queues": queues,
            "tasks": {
                "clone": {"active": self.active_clones},
                "ondemand": {"active": self.active_ondemand_clones, "pending": self.pending_ondemand_clones},
            },
            "errors": {
                "dlq_total_size": self.dlq_total_size,
                "stuck_vm_count": self.stuck_vm_count,
                "orphaned_metadata_count": self.orphaned_metadata,
            },
        }


def with_dead_letters(metrics: Mapping[str, Any], sizes: Mapping[DeadLetterQueue, int]) -> dict[str, Any]:
    """Return the nested metrics of a record with these numbers of dead letters instead of its own."""
    queues, errors = metrics.get("queues", {}), metrics.get("errors", {})
    pools = {name: queue for name, queue in queues.items() if name != "dlq" or "completed" in queue}
    dead_letters = {str(queue): {"size": size} for queue, size in sizes.items() if size}
    if dead_letters:
        pools["dlq"] = {**pools.get("dlq", {}), **dead_letters}
    return {**metrics, "queues": pools, "errors": {**errors, "dlq_total_size": sum(sizes.values())}}


def _nested_pool(pool: PoolMetrics) -> dict[str, Any]:
    pending, ready = pool.pending, pool.ready
    return {
        "pending": {
            "size": pending.size,
            "oldest_age": pending.oldest_age,
            "avg_age": pending.avg_age,
            "stuck_count": pending.stuck_count,
        },
        "ready": {"size": ready.size, "oldest_age": ready.oldest_age, "avg_age": ready.avg_age},
        "completed": {"size": pool.completed},
    }


def status_line(status: Status, metrics: HealthMetrics) -> str:
    """Return the log line of a check, as docs/operator-guide.md prints it."""
    pools = metrics.pools.values()
    return (
        f"[*] [health] Status: {str(status).upper()}"
        f" | Queues: P={sum(p.pending.size for p in pools)} R={sum(p.ready.size for p in pools)}"
        f" C={sum(p.completed for p in pools)}"
        f" | DLQ={metrics.dlq_total_size} | Stuck={metrics.stuck_vm_count} | Orphaned={metrics.orphaned_metadata}"
    )
