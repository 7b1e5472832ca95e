"""What a health check measures in a real database, and how it assesses it."""

import json

import pytest

from tests.support.health_checks import OTHER, QUIET, check, reasons
from tests.support.promises import fail
from tests.support.world import POOL, World, settings
from vmpooler_tasks.config import Options, RedisSection, Settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.model.health.explanation import explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import keys

DAY = 86400


def test_a_new_empty_database_is_healthy(world: World) -> None:
    report = check(world, settings())
    assert report.assessment.status is Status.HEALTHY
    assert report.assessment.reasons == ()
    assert report.last_check == "2024-01-15T10:30:00Z"


def test_sizes_and_ages_are_measured_for_each_pool(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-p1", 100)
    world.vm(Queue.PENDING, "pooler-p2", 8000)
    world.vm(Queue.PENDING, "pooler-p3", None)
    world.vm(Queue.READY, "pooler-r1", 10, pool=OTHER)
    world.vm(Queue.READY, "pooler-r2", 30, pool=OTHER)
    world.vm(Queue.COMPLETED, "pooler-c1", 10)
    metrics = check(world, settings(pools=(POOL, OTHER), **QUIET)).metrics
    assert metrics["queues"][POOL] == {
        "pending": {"size": 3, "oldest_age": 8000, "avg_age": 4050, "stuck_count": 1},
        "ready": {"size": 0, "oldest_age": 0, "avg_age": 0},
        "completed": {"size": 1},
    }
    assert metrics["queues"][OTHER]["ready"] == {"size": 2, "oldest_age": 30, "avg_age": 20}
    assert metrics["errors"] == {"dlq_total_size": 0, "stuck_vm_count": 1, "orphaned_metadata_count": 0}


def test_a_large_queue_is_measured_whole_and_once(world: World) -> None:
    pipe = world.client.pipeline(transaction=False)
    for index in range(1700):
        pipe.sadd(keys.queue(Queue.READY, POOL), f"pooler-{index}")
        pipe.hset(f"vmpooler__vm__pooler-{index}", "ready", world.stamp(100 if index % 2 else 300))
    pipe.execute()
    ready = check(world).metrics["queues"][POOL]["ready"]
    assert ready == {"size": 1700, "oldest_age": 300, "avg_age": 200}


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY])
def test_a_time_more_than_a_day_ahead_gives_no_age(world: World, queue: Queue) -> None:
    world.vm(queue, "pooler-a", 100)
    world.vm(queue, "pooler-ahead", -DAY - 1)
    measured = check(world).metrics["queues"][POOL][str(queue)]
    assert (measured["size"], measured["oldest_age"], measured["avg_age"]) == (2, 100, 100)
    world.client.delete(keys.queue(queue, POOL))
    world.vm(queue, "pooler-far", -999 * 365 * DAY)
    measured = check(world).metrics["queues"][POOL][str(queue)]
    assert (measured["size"], measured["oldest_age"], measured["avg_age"]) == (1, 0, 0)


def test_a_time_that_is_a_little_ahead_counts_as_in_vmpooler(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 300)
    world.vm(Queue.PENDING, "pooler-b", -100)
    measured = check(world).metrics["queues"][POOL]["pending"]
    assert (measured["oldest_age"], measured["avg_age"]) == (300, 100)


def test_task_counters_and_waiting_clones_are_read(world: World) -> None:
    world.client.set("vmpooler__tasks__clone", "3")
    world.client.set("vmpooler__tasks__ondemandclone", "4 or so")
    world.client.zadd("vmpooler__odcreate__task", {"a:b:1:r": 1, "a:b:2:r": 2})
    tasks = check(world).metrics["tasks"]
    assert tasks == {"clone": {"active": 3}, "ondemand": {"active": 4, "pending": 2}}


def test_dead_letters_are_counted_by_queue_and_only_where_they_are_on(world: World) -> None:
    fail(world, "pooler-a", DeadLetterQueue.CLONE)
    fail(world, "pooler-b", DeadLetterQueue.CLONE)
    fail(world, "pooler-c", DeadLetterQueue.TASKS)
    metrics = check(world).metrics
    assert metrics["queues"]["dlq"] == {"clone": {"size": 2}, "tasks": {"size": 1}}
    assert metrics["errors"]["dlq_total_size"] == 3
    assert check(world, settings(dlq_enabled=False, **QUIET)).metrics["errors"]["dlq_total_size"] == 0


def test_orphans_are_counted_as_purge_sees_them_but_of_any_age(world: World) -> None:
    world.vm(None, "pooler-old", 2 * DAY)
    world.vm(None, "pooler-new", 60)
    world.client.set("vmpooler__vm__pooler-odd", "no hash")
    for index, queue in enumerate(Queue):
        world.vm(queue, f"pooler-q{index}", 60)
        world.vm(queue, f"pooler-u{index}", 60, pool="not-configured")
    expiring = world.vm(None, "pooler-expiring", 60)
    world.client.expire(keys.vm(expiring), 1000)
    assert check(world).metrics["errors"]["orphaned_metadata_count"] == 3


@pytest.mark.parametrize(
    ("count", "status", "code"),
    [(100, Status.HEALTHY, None), (101, Status.DEGRADED, "pending_queue"), (201, Status.UNHEALTHY, "pending_queue")],
)
def test_a_backlog_makes_it_degraded_and_then_unhealthy(
    world: World, count: int, status: Status, code: str | None
) -> None:
    world.client.sadd(keys.queue(Queue.PENDING, POOL), *(f"pooler-{index}" for index in range(count)))
    report = check(world)
    assert report.assessment.status is status
    assert reasons(report) == ([(code, POOL)] if code else [])


def test_dead_letters_near_their_cap_degrade_before_one_is_dropped(world: World) -> None:
    chosen = settings(dlq_max_entries=10, **QUIET)
    for index in range(8):
        fail(world, f"pooler-{index}", DeadLetterQueue.CLONE)
    assert reasons(check(world, chosen)) == []
    fail(world, "pooler-8", DeadLetterQueue.CLONE)
    report = check(world, chosen)
    assert report.assessment.status is Status.DEGRADED
    assert [(reason.code, reason.queue) for reason in report.assessment.reasons] == [("dlq_near_cap", "clone")]


def test_dead_letters_near_their_maximum_of_bytes_degrade_whoever_wrote_them(world: World) -> None:
    chosen = settings(dlq_max_bytes=100_000, **QUIET)
    world.client.zadd("vmpooler__dlq__tasks", {"x" * 89_999: world.now})
    assert reasons(check(world, chosen)) == []
    world.client.zadd("vmpooler__dlq__tasks", {"y": world.now})
    [reason] = check(world, chosen).assessment.reasons
    assert (reason.code, reason.queue, reason.measured, reason.key) == (
        "dlq_near_cap",
        "tasks",
        90_000,
        "dlq_max_bytes",
    )
    assert explain(reason)[0] == "90000 bytes of dead letters in tasks, near dlq_max_bytes: soon the oldest are dropped"
    world.client.delete("vmpooler__dlq__tasks")
    assert reasons(check(world, chosen)) == []


def test_without_configured_pools_the_registered_pools_are_measured(world: World) -> None:
    world.client.sadd("vmpooler__pools", "one", "two")
    world.vm(Queue.READY, "pooler-a", 60, pool="two")
    metrics = check(world, settings(pools=(), **QUIET)).metrics
    assert set(metrics["queues"]) == {"one", "two"}
    assert metrics["queues"]["two"]["ready"]["size"] == 1


def test_switched_off_only_a_forced_check_runs(world: World, caplog: pytest.LogCaptureFixture) -> None:
    off = settings(health_check_enabled=False)
    assert health_check.run(world.db, off, world.clock) is None
    assert not world.client.exists("vmpooler__health")
    assert "[*] [health] Skipped health check: it is switched off (health_check_enabled: false)" in caplog.messages
    assert health_check.run(world.db, off, world.clock, forced=True) is not None
    assert world.client.hget("vmpooler__health", "status") == b"healthy"


def test_the_report_is_json_with_its_duration(world: World) -> None:
    shown = json.loads(json.dumps(check(world).as_json()))
    assert list(shown) == [
        "status",
        "last_check",
        "last_scheduled_check",
        "stuck_vm_count",
        "dlq_total_size",
        "orphaned_metadata_count",
        "reasons",
        "metrics",
        "duration_seconds",
    ]
    assert shown["duration_seconds"] > 0


def test_settings_without_a_redis_section_are_enough(world: World) -> None:
    chosen = Settings(config=Options(health_check_enabled=True), redis=RedisSection())
    world.client.sadd(keys.POOLS, POOL)
    assert check(world, chosen).assessment.status is Status.HEALTHY
