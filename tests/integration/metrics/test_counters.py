"""Counters are raised in the step that does what they count: dead letters by class of error, purge durations."""

import json
from typing import Any

import pytest

from tests.support.cycles import cycle
from tests.support.world import POOL, World, settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.model.deadletters.entry import DeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters import read as dlq
from vmpooler_tasks.store.deadletters.push import push as push_dead_letter
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits
from vmpooler_tasks.store.health import record as stored
from vmpooler_tasks.store.purge import state as purge_state

pytestmark = pytest.mark.both_servers

WEEK = DeadLetterLimits(ttl_seconds=7 * 24 * 3600, max_entries=10_000)
CLONE = DeadLetterQueue.CLONE


def push(world: World, name: str, error_class: str | None, **fields: Any) -> None:
    entry = DeadLetter(
        vm=name,
        queue_from=CLONE,
        error_class=error_class,
        error_message="no",
        failed_at=iso_utc(world.now),
        id=name,
        **fields,
    )
    push_dead_letter(world.db, CLONE, entry, now=world.now, limits=WEEK)


def counted(world: World, prefix: str) -> dict[str, str]:
    """The counters behind this prefix."""
    found = world.client.hgetall(keys.COUNTERS.decode())
    texts = {name.decode(): value.decode() for name, value in found.items()}
    return {name.removeprefix(prefix): value for name, value in texts.items() if name.startswith(prefix)}


def by_class(world: World) -> dict[str, int]:
    return {name: int(count) for name, count in counted(world, "dead_letters_of:clone:").items()}


def test_dead_letters_are_counted_by_class_of_error(world: World) -> None:
    for name, error_class in (("a", "Timeout"), ("b", "Timeout"), ("c", "Foo::Bar"), ("c", "Foo::Bar")):
        push(world, name, error_class)  # c twice is one
    assert by_class(world) == {"Timeout": 2, "Foo::Bar": 1}


@pytest.mark.parametrize(
    ("error_class", "shown"),
    [
        (None, "unknown"),
        ("", "unknown"),
        ("Fehler mit Leerzeichen", "Fehler_mit_Leerzeichen"),
        ("Störung", "St__rung"),
        ("line\nbreak", "line_nbreak"),
        ("E" * 100, "E" * 64),
        ('quo"ted', "quo_"),
    ],
)
def test_a_class_is_plain_and_short(world: World, error_class: str | None, shown: str) -> None:
    push(world, "a", error_class)
    assert by_class(world) == {shown: 1}
    assert dlq.count_classes(world.db, CLONE) == {shown: 1}


def test_a_class_is_not_looked_for_in_other_fields(world: World) -> None:
    push(world, '","error_class":"Name"', "True", args={"error_class": "Argument"})
    assert by_class(world) == {"True": 1}


def test_beyond_fifty_classes_a_dead_letter_counts_as_other(world: World) -> None:
    for index in range(55):
        push(world, f"vm{index}", f"Class{index}")
    push(world, "again", "Class0")
    found = by_class(world)
    assert len(found) == 51
    assert (found["other"], found["Class0"], found["Class49"]) == (5, 2, 1)


def test_dead_letters_of_a_purge_are_counted_by_class_too(world: World) -> None:
    for index in range(3):
        world.vm(Queue.PENDING, f"pooler-{index}", 7201)
    cycle(world)
    (count,) = counted(world, "dead_letters_of:pending:").values()
    assert count == "3"


def test_a_broken_counter_stops_no_dead_letter(world: World) -> None:
    world.client.hset(
        keys.COUNTERS, mapping={"dead_letter_classes:clone": "many", "dead_letters_of:clone:Timeout": "x"}
    )
    push(world, "a", "Timeout")
    push(world, "b", "Other")
    world.client.delete(keys.COUNTERS)
    world.client.set(keys.COUNTERS, "no hash")
    push(world, "c", "Timeout")
    assert dlq.size(world.db, CLONE) == 3


def test_both_forms_of_dead_letters_are_counted_for_the_check(world: World) -> None:
    push(world, "a", "Timeout")
    theirs = json.dumps({"vm": "b", "pool": POOL, "error_class": "StandardError"}, separators=(",", ":"))
    spaced = json.dumps({"vm": "c", "error_class": "StandardError"})
    raws = (f"b:1705314600:{theirs}", f"c:1705314600.5:{spaced}", "no json", '{"error_class":null}', b"\xff")
    world.client.zadd(keys.dead_letters(CLONE), dict.fromkeys(raws, world.now))
    assert dlq.count_classes(world.db, CLONE) == {"Timeout": 1, "StandardError": 2, "unknown": 3}


def test_a_check_remembers_the_most_frequent_classes(world: World) -> None:
    raws = [f'{{"vm":"{n}-{m}","error_class":"Class{n:02}"}}' for n in range(25) for m in range(n + 1)]
    raws += [f'{{"vm":"page-{n}","error_class":"Class24"}}' for n in range(300)]
    world.client.zadd(keys.dead_letters(CLONE), dict.fromkeys(raws, world.now))
    assert health_check.run(world.db, settings(), world.clock)
    errors = stored.read_state(world.db).dlq_errors
    assert list(errors) == ["clone"]
    assert len(errors["clone"]) == 21
    assert errors["clone"]["other"] == 1 + 2 + 3 + 4 + 5
    assert errors["clone"]["Class24"] == 325
    assert sum(errors["clone"].values()) == len(raws)
    assert "error" not in world.client.hget(keys.HEALTH, "metrics").decode().replace('"errors"', "")


@pytest.mark.parametrize(
    "text", ["x", "[]", '{"clone":[1]}', '{"clone":{"A":"b"}}', '{"clone":{"A":1e999}}', "[" * 9999]
)
def test_unreadable_classes_count_as_empty(world: World, text: str) -> None:
    world.client.hset(keys.HEALTH_STATE, "dlq_errors", text)
    assert stored.read_state(world.db).dlq_errors == {}


def test_a_whole_cycle_is_counted_with_its_duration(world: World) -> None:
    cycle(world)
    cycle(world)
    cycle(world, queues=("ready",))
    assert sum(map(int, counted(world, "purge_cycles_within:").values())) == 2
    assert float(counted(world, "purge_seconds")[""]) > 0


@pytest.mark.parametrize(("seconds", "bound"), [(0, "0.1"), (0.1, "0.1"), (2.4, "2.5"), (1800, "1800"), (1801, "inf")])
def test_a_duration_has_its_bucket(world: World, seconds: float, bound: str) -> None:
    purge_state.record_end(world.db, span=(0.0, seconds), failure=None, skipped_queues=[], trail={"action": "purge"})
    assert counted(world, "purge_cycles_within:") == {bound: "1"}
    assert float(counted(world, "purge_seconds")[""]) == seconds


def test_a_cycle_that_failed_has_no_duration(world: World) -> None:
    purge_state.record_end(world.db, span=(0.0, 5.0), failure="no", skipped_queues=[], trail={"action": "purge"})
    assert counted(world, "purge_") == {"failures": "1"}
