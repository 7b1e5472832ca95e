"""The operator guide's promises, each by name: health checks."""

import json
import logging
import re
from collections.abc import Callable

import pytest

from tests.support.promises import (
    BOTH_POOLS,
    DAY,
    HEALTH_DIED,
    HEALTH_STATUS,
    PURGE_DIED,
    STATUS_BEGINS,
    fail,
    run_health,
    run_purge,
)
from tests.support.world import NOW, POOL, World, settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store.health.record import read_history


def status(world: World) -> str:
    """`redis-cli HGET vmpooler__health status`"""
    return str(world.client.hget("vmpooler__health", "status").decode())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    return caplog


def test_the_health_check_says_the_guides_line_for_the_guides_numbers(
    world: World, log: pytest.LogCaptureFixture
) -> None:
    for index in range(45):
        world.vm(Queue.PENDING, f"pooler-pending-{index}", 7201 if index < 3 else 60, BOTH_POOLS[index % 2])
    for index in range(230):
        world.vm(Queue.READY, f"pooler-ready-{index}", index, BOTH_POOLS[index % 2])
    for index in range(12):
        world.vm(Queue.COMPLETED, f"pooler-completed-{index}", index, BOTH_POOLS[index % 2])
    for index in range(25):
        fail(world, f"pooler-failed-{index}", tuple(DeadLetterQueue)[index % 4])
    for index in range(5):
        world.vm(None, f"pooler-orphaned-{index}", 3 * DAY)
    run_health(world, settings(pools=BOTH_POOLS))
    assert [line for line in log.messages if line.startswith(STATUS_BEGINS)] == [HEALTH_STATUS]


@pytest.mark.parametrize(("count", "word"), [(0, "HEALTHY"), (101, "DEGRADED"), (201, "UNHEALTHY")])
def test_the_health_check_says_its_status_in_capitals(
    world: World, log: pytest.LogCaptureFixture, count: int, word: str
) -> None:
    pending_vms(world, count)
    run_health(world)
    assert f"{STATUS_BEGINS} {word} | Queues: P={count} R=0 C=0 | DLQ=0 | Stuck=0 | Orphaned=0" in log.messages


def pending_vms(world: World, count: int) -> None:
    if count:
        world.client.sadd(f"vmpooler__pending__{POOL}", *(f"pooler-{index}" for index in range(count)))


def ready_vms(world: World, count: int) -> None:
    world.client.sadd(f"vmpooler__ready__{POOL}", *(f"pooler-{index}" for index in range(count)))


def dead_letters(world: World, count: int) -> None:
    """In all four queues together."""
    for index in range(count):
        fail(world, f"pooler-{index}", tuple(DeadLetterQueue)[index % 4])


def stuck_vms(world: World, count: int) -> None:
    for index in range(count):
        world.vm(Queue.PENDING, f"pooler-{index}", 7201)


def levels(
    state: Callable[[World, int], None], degraded_above: int, unhealthy_above: int
) -> list[tuple[Callable[[World, int], None], int, str]]:
    """Each threshold itself, just below it, and just above it."""
    return [
        (state, degraded_above - 1, "healthy"),
        (state, degraded_above, "healthy"),
        (state, degraded_above + 1, "degraded"),
        (state, unhealthy_above - 1, "degraded"),
        (state, unhealthy_above, "degraded"),
        (state, unhealthy_above + 1, "unhealthy"),
    ]


@pytest.mark.parametrize(
    ("state", "count", "level"),
    [
        *levels(pending_vms, 100, 200),
        *levels(ready_vms, 500, 1000),
        *levels(dead_letters, 100, 1000),
        *levels(stuck_vms, 10, 50),
    ],
)
def test_health_leaves_a_level_only_above_its_threshold(
    world: World, state: Callable[[World, int], None], count: int, level: str
) -> None:
    state(world, count)
    run_health(world)
    assert status(world) == level


@pytest.mark.parametrize(
    ("threshold", "state", "level"),
    [
        ("pending_queue_max", pending_vms, "degraded"),
        ("ready_queue_max", ready_vms, "degraded"),
        ("dlq_max_warning", dead_letters, "degraded"),
        ("dlq_max_critical", dead_letters, "unhealthy"),
        ("stuck_vm_max_warning", stuck_vms, "degraded"),
        ("stuck_vm_max_critical", stuck_vms, "unhealthy"),
    ],
)
def test_a_threshold_can_be_configured(
    world: World, threshold: str, state: Callable[[World, int], None], level: str
) -> None:
    state(world, 5)
    run_health(world)
    assert status(world) == "healthy"
    run_health(world, settings(thresholds={threshold: 4}))
    assert status(world) == level


@pytest.mark.parametrize(("age", "count"), [(7199, 0), (7200, 0), (7201, 1)])
def test_a_pending_vm_is_stuck_after_two_hours(world: World, age: int, count: int) -> None:
    world.vm(Queue.PENDING, "pooler-sad-dog", age)
    run_health(world)
    assert world.client.hget("vmpooler__health", "stuck_vm_count") == str(count).encode()


def test_stuck_vm_age_threshold_can_be_configured(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-sad-dog", 601)
    run_health(world, settings(thresholds={"stuck_vm_age_threshold": 600}))
    assert world.client.hget("vmpooler__health", "stuck_vm_count") == b"1"


@pytest.mark.parametrize(
    ("what", "path", "measured"),
    [
        ("pending size", ("queues", POOL, "pending", "size"), 2),
        ("pending, the oldest VM", ("queues", POOL, "pending", "oldest_age"), 7300),
        ("pending, average age", ("queues", POOL, "pending", "avg_age"), 3700),
        ("pending, stuck", ("queues", POOL, "pending", "stuck_count"), 1),
        ("ready size", ("queues", POOL, "ready", "size"), 3),
        ("ready, the oldest VM", ("queues", POOL, "ready", "oldest_age"), 900),
        ("ready, average age", ("queues", POOL, "ready", "avg_age"), 500),
        ("completed size", ("queues", POOL, "completed", "size"), 1),
        ("dead letters in a queue", ("queues", "dlq", "clone", "size"), 1),
        ("dead letters", ("errors", "dlq_total_size"), 2),
        ("stuck VMs", ("errors", "stuck_vm_count"), 1),
        ("orphaned metadata", ("errors", "orphaned_metadata_count"), 1),
        ("clones under way", ("tasks", "clone", "active"), 4),
        ("on-demand clones under way", ("tasks", "ondemand", "active"), 3),
        ("on-demand clones to be started", ("tasks", "ondemand", "pending"), 1),
    ],
)
def test_health_monitors(world: World, what: str, path: tuple[str, ...], measured: int) -> None:
    for age in (100, 7300):
        world.vm(Queue.PENDING, f"pooler-pending-{age}", age)
    for age in (200, 400, 900):
        world.vm(Queue.READY, f"pooler-ready-{age}", age)
    world.vm(Queue.COMPLETED, "pooler-completed", 60)
    world.vm(None, "pooler-orphaned", 3 * DAY)
    for queue in (DeadLetterQueue.CLONE, DeadLetterQueue.TASKS):
        fail(world, queue=queue)
    world.client.mset({"vmpooler__tasks__clone": 4, "vmpooler__tasks__ondemandclone": 3})
    world.client.zadd("vmpooler__odcreate__task", {f"centos-7:{POOL}:1:req-abc123": NOW})
    run_health(world)
    found = json.loads(world.client.hget("vmpooler__health", "metrics"))
    for step in path:
        found = found[step]
    assert (what, found) == (what, measured)


def test_vmpooler__health_has_the_guides_fields(world: World) -> None:
    run_health(world)
    stored = world.client.hgetall("vmpooler__health")
    assert stored[b"status"] == b"healthy"
    assert stored[b"last_check"] == b"2024-01-15T10:30:00Z"
    assert stored[b"stuck_vm_count"] == b"0"


def test_last_check_moves_with_every_check(world: World) -> None:
    run_health(world)
    world.now += 300
    run_health(world)
    assert world.client.hget("vmpooler__health", "last_check") == b"2024-01-15T10:35:00Z"


def test_health_is_tracked_over_time(world: World) -> None:
    run_health(world)
    world.now += 300
    pending_vms(world, 101)
    run_health(world)
    history = [(check.at, str(check.status)) for check in read_history(world.db, NOW)]
    assert history == [(NOW, "healthy"), (NOW + 300, "degraded")]


def test_with_health_check_enabled_false_nothing_is_checked(world: World) -> None:
    assert health_check.run(world.db, settings(health_check_enabled=False), world.clock) is None
    assert not world.client.exists("vmpooler__health")


EVERY_HOUR = settings(health_check_interval=3600)
"""Health checks as seldom as the purge, so that they are not late themselves in what follows."""


def check_hourly(world: World, until: float) -> None:
    while world.now < until:
        run_health(world, EVERY_HOUR)
        world.now += 3600
    world.now = until
    run_health(world, EVERY_HOUR)


@pytest.mark.parametrize("ran_before", [True, False])
def test_a_purge_that_stopped_coming_or_never_came_is_reported_as_a_dead_worker(
    world: World, log: pytest.LogCaptureFixture, ran_before: bool
) -> None:
    if ran_before:
        run_purge(world)
    due = NOW + 3600 if ran_before else NOW
    check_hourly(world, due + 2 * 3600 + 10)
    (died,) = (line for line in log.messages if line.startswith(PURGE_DIED))
    assert re.fullmatch(
        re.escape(PURGE_DIED) + r": the purge is 72\d\d seconds overdue; it needs a beat and a worker .*", died
    )
    assert status(world) == "degraded"


@pytest.mark.parametrize("ran_before", [True, False])
def test_a_purge_that_is_late_but_by_less_than_two_intervals_is_not(
    world: World, log: pytest.LogCaptureFixture, ran_before: bool
) -> None:
    if ran_before:
        run_purge(world)
    due = NOW + 3600 if ran_before else NOW
    check_hourly(world, due + 2 * 3600)
    assert status(world) == "healthy"
    assert not [line for line in log.messages if PURGE_DIED in line]


def test_health_checks_that_stopped_coming_are_reported_as_a_dead_worker(
    world: World, log: pytest.LogCaptureFixture
) -> None:
    run_health(world)
    world.now += 3 * 300 + 1
    run_health(world)
    assert len([line for line in log.messages if line.startswith(HEALTH_DIED)]) == 1
    assert status(world) == "degraded"


def test_health_checks_that_come_late_but_within_two_intervals_are_not(
    world: World, log: pytest.LogCaptureFixture
) -> None:
    run_health(world)
    world.now += 3 * 300
    run_health(world)
    assert not [line for line in log.messages if HEALTH_DIED in line]
    assert status(world) == "healthy"
