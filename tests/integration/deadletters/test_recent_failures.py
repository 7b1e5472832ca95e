"""The recent dead letters of each pool, counted on the server in one bounded step."""

import json
from typing import Any

import pytest

from tests.support.commands import dead_letter
from tests.support.world import NOW, POOL, World
from vmpooler_tasks.model.deadletters.entry import failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.deadletters import delete, read, recent_failures
from vmpooler_tasks.store.deadletters import push as dlq
from vmpooler_tasks.store.deadletters.recent_failures import MAX_READ, PoolFailures
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits

pytestmark = pytest.mark.both_servers

HOUR = 3600
OTHER = "debian-12"
FLOOD = 3 * MAX_READ


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def count(world: World) -> dict[str, PoolFailures]:
    return recent_failures.count_by_pool(world.db, since=world.now - HOUR, now=world.now)


def push(world: World, number: int, pool: str = POOL, message: str = "full", age: float = 60) -> None:
    entry = failed_vm(
        queue=DeadLetterQueue.CLONE,
        vm=f"vm-{number}".encode(),
        pool=pool,
        error_class="E",
        error_message=message,
        now=world.now - age,
        identity=str(number).encode(),
    )
    limits = DeadLetterLimits(ttl_seconds=24 * HOUR, max_entries=10 * FLOOD)
    dlq.push(world.db, DeadLetterQueue.CLONE, entry, now=world.now - age, limits=limits)


def add(world: World, queue: str, age: float, message: str = "failed", pool: str = POOL, **options: Any) -> None:
    dead_letter(world, queue, age, **{"vm": "vm-1", "pool": pool, "error_message": message, **options})


def test_both_forms_count_and_the_newest_message_of_all_queues_is_returned(world: World) -> None:
    add(world, "clone", HOUR + 1, "too old")
    add(world, "clone", 50, "newest")
    add(world, "pending", 90, "in VMPooler's form", old_form=True)
    add(world, "tasks", 100, "a task")
    assert count(world) == {POOL: PoolFailures(3, "newest")}


@pytest.mark.parametrize("text", ['a "quoted" word', "back\\slash\\", "two\nlines\tand a tab", "größer ☃", ""])
def test_texts_come_back_as_they_were(world: World, text: str) -> None:
    push(world, 1, message=text)
    add(world, "pending", 10, text, pool=OTHER)
    assert {found.last_message for found in count(world).values()} == {text}


def test_a_pool_among_the_arguments_of_a_task_is_not_the_dead_letters_pool(world: World) -> None:
    entry = {"queue_from": "tasks", "error_message": "x", "args": [], "kwargs": {"pool": OTHER}}
    world.client.zadd(keys.dead_letters(DeadLetterQueue.TASKS), {json.dumps(entry, separators=(",", ":")): NOW})
    assert count(world) == {}


@pytest.mark.parametrize("member", [b"", b"\xff\xfe", b'{"pool":"', b'{"pool":7}', b'{"pool":null}', b'["pool"]'])
def test_odd_members_count_for_no_pool_and_hide_no_other(world: World, member: bytes) -> None:
    world.client.zadd(keys.dead_letters(DeadLetterQueue.CLONE), {member: NOW})
    add(world, "clone", 10)
    assert count(world) == {POOL: PoolFailures(1, "failed")}


def test_a_key_of_another_type_hides_no_other(world: World) -> None:
    world.client.set(keys.dead_letters(DeadLetterQueue.READY), "x")
    add(world, "clone", 10)
    assert count(world)[POOL].count == 1


def test_a_flood_hides_no_other_pool(world: World) -> None:
    push(world, 0, OTHER, "rare \\ " + "x" * 1000, age=600)
    for number in range(1, FLOOD):
        push(world, number, age=300)
    found = count(world)
    assert (found[POOL].count, found[OTHER].count) == (FLOOD - 1, 1)
    assert found[OTHER].last_message.startswith("rare \\ xxx"), "the index keeps its beginning"


def test_a_deleted_dead_letter_counts_no_more(world: World) -> None:
    for number in range(3):
        push(world, number)
    [first, *_] = read.newest_first(world.db, [DeadLetterQueue.CLONE])
    delete.delete(world.db, DeadLetterQueue.CLONE, [first.raw], {"action": "delete"})
    assert count(world)[POOL].count == 2


def test_the_index_expires_by_itself_and_is_bounded(world: World) -> None:
    for number in range(5000):
        push(world, number, f"pool-{number}")
    [step] = world.client.keys(b"%b*" % keys.FAILURES_PREFIX)
    assert 0 < world.client.ttl(step) <= 65 * 60
    assert world.client.hlen(step) <= 4000


def test_an_index_of_another_type_stops_no_dead_letter(world: World) -> None:
    push(world, 1)
    [step] = world.client.keys(b"%b*" % keys.FAILURES_PREFIX)
    world.client.delete(step)
    world.client.set(step, "x")
    push(world, 2)
    assert count(world)[POOL].count == 2
