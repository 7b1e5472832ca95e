"""A queue of dead letters is bounded in bytes, as it is in entries; the bytes are counted whoever changes the queue."""

from typing import Any

import pytest

from tests.support.cycles import counters
from tests.support.world import POOL, World
from vmpooler_tasks.jobs.deadletters import query as job
from vmpooler_tasks.jobs.deadletters import retention
from vmpooler_tasks.jobs.deadletters.delete import delete
from vmpooler_tasks.model.deadletters.entry import DeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store.deadletters.push import push
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed, count_bytes, trim

pytestmark = pytest.mark.both_servers

TASKS = DeadLetterQueue.TASKS
KEY = "vmpooler__dlq__tasks"
DAY = 86400
MAX_BYTES = 100_000
LIMITS = DeadLetterLimits(DAY, 1000, MAX_BYTES)


def add(world: World, number: int, size: int = 20_000, limits: DeadLetterLimits = LIMITS) -> Trimmed:
    """Push a dead letter of about this many bytes."""
    fields: dict[str, Any] = {
        "queue_from": TASKS,
        "error_class": "E",
        "error_message": "m",
        "failed_at": "t",
        "pool": POOL,
    }
    entry = DeadLetter(**fields, id=f"{number:016x}", args=["x" * size])
    return push(world.db, TASKS, entry, now=world.now + number, limits=limits)[1]


def held(world: World) -> int:
    return sum(map(len, world.client.zrange(KEY, 0, -1)))


def counted(world: World) -> int:
    return int(world.client.hget("vmpooler_tasks__counters", f"dead_letter_bytes:{TASKS}"))


def test_the_oldest_are_dropped_beyond_the_maximum_of_bytes(world: World, caplog: pytest.LogCaptureFixture) -> None:
    trimmed = [add(world, number) for number in range(12)]
    assert held(world) <= MAX_BYTES < held(world) + 21_000
    assert held(world) == counted(world)
    assert trimmed[-1] == Trimmed(1, 0, is_for_bytes=True)
    ids = [entry.id for entry in job.find(world.db, DeadLetterFilter())]
    assert ids == [f"{number:016x}" for number in range(11, 11 - len(ids), -1)]
    assert counters(world)["dead_letters_dropped:tasks"] == 12 - len(ids)
    retention.log_trimmed(TASKS, trimmed[-1], LIMITS)
    assert caplog.messages == [f"[!] [dlq] Dropped the 1 oldest of 'tasks': more than dlq_max_bytes ({MAX_BYTES})"]


def test_what_others_write_counts_and_is_dropped_with_the_next_dead_letter(world: World) -> None:
    add(world, 0)
    world.client.zadd(KEY, {f"v{number}:1:" + "y" * 30_000: world.now + number for number in range(10)})
    add(world, 20)
    assert held(world) <= MAX_BYTES
    assert held(world) == counted(world)


def test_trimming_drops_all_that_others_wrote_however_much(world: World) -> None:
    world.client.zadd(KEY, {f"{number:05}" + "y" * 9_995: world.now + number for number in range(3000)})
    assert trim(world.db, TASKS, now=world.now, limits=LIMITS) == Trimmed(2990, 0, is_for_bytes=True)
    assert held(world) == counted(world) == MAX_BYTES


@pytest.mark.parametrize("age", [-5, 0, 5])
def test_one_that_is_larger_than_the_maximum_is_dropped_alone(world: World, age: int) -> None:
    for number in range(3):
        add(world, number)
    mine = set(world.client.zrange(KEY, 0, -1))
    world.client.zadd(KEY, {f"{number}" + "y" * MAX_BYTES: world.now + 1 - age for number in range(2)})
    assert add(world, 3) == Trimmed(2, 0, is_for_bytes=True)
    assert mine < set(world.client.zrange(KEY, 0, -1))
    assert held(world) == counted(world) < MAX_BYTES
    assert counters(world)["dead_letters_dropped:tasks"] == 2


def test_one_that_is_too_large_and_too_old_has_expired(world: World) -> None:
    world.client.zadd(KEY, {"y" * (MAX_BYTES + 1): world.now - DAY - 1})
    assert trim(world.db, TASKS, now=world.now, limits=LIMITS) == Trimmed(0, 1)


@pytest.mark.parametrize("how", ["deleted", "by others", "expired", "too many", "pushed again"])
def test_the_bytes_are_exact_however_dead_letters_leave(world: World, how: str) -> None:
    for number in range(4):
        add(world, number, 1000 * (number + 1))
    if how == "deleted":
        delete(world.db, list(job.find(world.db, DeadLetterFilter()))[:2], who="anna", why=None)
    elif how == "by others":
        world.client.zremrangebyrank(KEY, 0, 1)
    elif how == "expired":
        world.now += DAY + 2
        trim(world.db, TASKS, now=world.now, limits=LIMITS)
    elif how == "too many":
        trim(world.db, TASKS, now=world.now, limits=DeadLetterLimits(DAY, 2, MAX_BYTES))
    else:
        add(world, 2, 3000)
    count_bytes(world.db, TASKS, MAX_BYTES)
    assert 0 < held(world) == counted(world)


@pytest.mark.parametrize("value", ["a string", None])
def test_broken_counters_stop_no_dead_letter(world: World, value: str | None) -> None:
    add(world, 0)
    world.client.delete("vmpooler_tasks__counters")
    if value:
        world.client.set("vmpooler_tasks__counters", value)
    for number in range(1, 9):
        add(world, number)
    assert 60_000 < held(world) <= MAX_BYTES
