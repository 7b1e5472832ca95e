"""What a health check measured: how it is summed up, nested and logged."""

from vmpooler_tasks.model.health.metrics import HealthMetrics, PoolMetrics, QueueMetrics, measure_queue, status_line
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import DeadLetterQueue


def test_metrics_are_nested_as_vmpooler_nests_them() -> None:
    pool = PoolMetrics(QueueMetrics(3, 100, 50, 1), QueueMetrics(2, 30, 20), 4)
    measured = HealthMetrics(
        pools={"centos": pool, "dlq": pool},
        dead_letters={DeadLetterQueue.CLONE: 2, DeadLetterQueue.PENDING: 0},
        orphaned_metadata=5,
        active_clones=6,
        active_ondemand_clones=7,
        pending_ondemand_clones=8,
    )
    nested_pool = {
        "pending": {"size": 3, "oldest_age": 100, "avg_age": 50, "stuck_count": 1},
        "ready": {"size": 2, "oldest_age": 30, "avg_age": 20},
        "completed": {"size": 4},
    }
    assert measured.as_json() == {
        "queues": {"centos": nested_pool, "dlq": {**nested_pool, "clone": {"size": 2}}},
        "tasks": {"clone": {"active": 6}, "ondemand": {"active": 7, "pending": 8}},
        "errors": {"dlq_total_size": 2, "stuck_vm_count": 2, "orphaned_metadata_count": 5},
    }


def test_a_queue_is_measured_over_the_known_ages() -> None:
    assert measure_queue(4, [7201, 7200, 0], stuck_after=7200) == QueueMetrics(4, 7201, 4800, 1)
    assert measure_queue(2, [10.0]) == QueueMetrics(2, 10, 10, 0)
    assert measure_queue(3, []) == QueueMetrics(3, 0, 0, 0)


def test_the_log_line_is_the_guides() -> None:
    first = PoolMetrics(QueueMetrics(40, stuck_count=3), QueueMetrics(200), 10)
    second = PoolMetrics(QueueMetrics(5), QueueMetrics(30), 2)
    measured = HealthMetrics(
        pools={"a": first, "b": second}, dead_letters={DeadLetterQueue.CLONE: 25}, orphaned_metadata=5
    )
    assert status_line(Status.HEALTHY, measured) == (
        "[*] [health] Status: HEALTHY | Queues: P=45 R=230 C=12 | DLQ=25 | Stuck=3 | Orphaned=5"
    )


def test_the_number_of_a_status_is_the_guides_metric() -> None:
    assert [(int(status), str(status)) for status in Status] == [(0, "healthy"), (1, "degraded"), (2, "unhealthy")]
