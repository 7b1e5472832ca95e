"""Which dead letters a redrive run takes, frozen at its start."""

import json
import re
import tracemalloc
from typing import Any

import pytest

from tests.support.redriver import Redriver
from tests.support.world import NOW, POOL
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.redrive import RunOptions

pytestmark = pytest.mark.both_servers


def selected(world: Redriver, selection: Selection) -> tuple[list[str], int]:
    """Return the ids of what is selected, in order, and how many were left out because they came back too often."""
    reading = selection.read(world.db)
    return [one.id for one in reading], reading.poisoned


def some_dead_letters(world: Redriver) -> dict[str, str]:
    """Letters by a short name."""
    return {
        "clone": world.dead_letter("clone", 400, vm="vm-1"),
        "other": world.dead_letter("clone", 300, vm="vm-2", pool="other", error_class="TemplateError"),
        "requested": world.dead_letter("pending", 200, vm="vm-3", request_id="r-1", error_message="no route to host 7"),
        "ruby": world.dead_letter("ready", 100, vm="vm-4", old_form=True, error_class="RuntimeError"),
        "task": world.dead_letter("tasks", 50, task="a.task"),
    }


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["clone", "other", "requested", "ruby", "task"]),
        ({"queues": (DeadLetterQueue.CLONE,)}, ["clone", "other"]),
        ({"queues": (DeadLetterQueue.READY, DeadLetterQueue.TASKS)}, ["ruby", "task"]),
        ({"pool": "other"}, ["other"]),
        ({"vm": "vm-4"}, ["ruby"]),
        ({"request": "r-1"}, ["requested"]),
        ({"error_class": "RuntimeError"}, ["ruby"]),
        ({"match": re.compile("route to HOST", re.IGNORECASE)}, ["requested"]),
        ({"since": NOW - 200}, ["requested", "ruby", "task"]),
        ({"until": NOW - 300}, ["clone", "other"]),
        ({"pool": POOL, "since": NOW - 300, "until": NOW - 60}, ["requested", "ruby"]),
        ({"vm": "nobody"}, []),
    ],
)
def test_dead_letters_are_chosen_by_each_filter_oldest_first(
    world: Redriver, wanted: dict[str, Any], expected: list[str]
) -> None:
    ids = some_dead_letters(world)
    selection = Selection(wanted=DeadLetterFilter(**wanted))
    assert selected(world, selection) == ([ids[name] for name in expected], 0)
    assert selection.is_empty(world.db) == (not expected)


def test_dead_letters_are_chosen_by_id_in_the_order_of_their_age(world: Redriver) -> None:
    ids = some_dead_letters(world)
    wanted = DeadLetterFilter(ids=frozenset({ids["task"], ids["ruby"], ids["clone"]}))
    assert selected(world, Selection(wanted=wanted)) == ([ids["clone"], ids["ruby"], ids["task"]], 0)


def test_a_limit_takes_those_that_have_waited_longest(world: Redriver) -> None:
    ids = some_dead_letters(world)
    found, _ = selected(world, Selection(wanted=DeadLetterFilter(), limit=2))
    assert found == [ids["clone"], ids["other"]]


def test_what_came_back_three_times_is_selected_only_by_its_id(world: Redriver) -> None:
    poison = world.dead_letter(redrives=3)
    worse = world.dead_letter("tasks", 10, redrives=7)
    sound = world.dead_letter(age=30, redrives=2)
    assert selected(world, Selection(wanted=DeadLetterFilter())) == ([sound], 2)
    assert selected(world, Selection(wanted=DeadLetterFilter(pool=POOL), limit=1)) == ([sound], 1)
    named = DeadLetterFilter(ids=frozenset({poison, worse}))
    assert selected(world, Selection(wanted=named)) == ([poison, worse], 0)


def test_a_limit_is_not_used_up_by_what_is_left_out(world: Redriver) -> None:
    world.dead_letter(age=500, redrives=3)
    sound = world.dead_letter(age=30)
    assert selected(world, Selection(wanted=DeadLetterFilter(), limit=1)) == ([sound], 1)


def test_a_preview_groups_by_queue_pool_and_error_and_changes_nothing(world: Redriver) -> None:
    for number in range(3):
        world.dead_letter(age=number, error_message=f"no answer in {number} s")
    world.dead_letter("pending", pool="other")
    before = world.snapshot()
    found = world.preview().as_json()
    assert world.snapshot() == before
    assert [(one["queue"], one["pool"], one["error"], one["count"]) for one in found["groups"]] == [
        ("clone", POOL, "E: no answer in <n> s", 3),
        ("pending", "other", "E: no", 1),
    ]


def test_a_preview_says_of_each_group_how_many_run_and_how_many_close_and_why(world: Redriver) -> None:
    for number in range(3):
        world.dead_letter(age=number)
    world.dead_letter("pending", age=90, pool="other")
    world.dead_letter("tasks", vm="", pool="", task="some.task", kwargs={"password": "[redacted]"})
    found = world.preview().as_json()
    missing = found["groups"][0]["expected"]["redriven"]
    assert 0 < missing < 3, "the pool lacks fewer VMs than there are dead letters"
    assert found["expected"] == {"redriven": missing, "obsolete": 4 - missing, "kept": 1}
    assert [(one["expected"], one["reasons"]) for one in found["groups"]] == [
        (
            {"redriven": missing, "obsolete": 3 - missing, "kept": 0},
            [{"outcome": "obsolete", "reason": "its pool is full", "count": 3 - missing}],
        ),
        (
            {"redriven": 0, "obsolete": 1, "kept": 0},
            [{"outcome": "obsolete", "reason": "its pool is not configured any more", "count": 1}],
        ),
        (
            {"redriven": 0, "obsolete": 0, "kept": 1},
            [{"outcome": "kept", "reason": "its arguments were redacted", "count": 1}],
        ),
    ]
    assert sum(one["count"] for one in found["reasons"]) == 5 - missing


def test_a_queue_of_the_wrong_type_is_an_error_before_anything_is_begun(world: Redriver) -> None:
    world.dead_letter("pending")
    world.client.set("vmpooler__dlq__clone", "x")
    before = world.snapshot()
    with pytest.raises(WrongTypeError, match="vmpooler__dlq__clone"):
        world.start()
    assert world.snapshot() == before
    assert world.redrive(queues=(DeadLetterQueue.PENDING,)) == {"redriven": 1}


def test_a_queue_that_is_spoilt_in_the_middle_of_a_run_loses_nothing(world: Redriver) -> None:
    world.dead_letter("pending")
    kept = world.dead_letter(age=30)
    run, raw = world.start(), world.found(DeadLetterQueue.CLONE)[0].raw
    world.client.set("vmpooler__dlq__clone", "x")
    with pytest.raises(WrongTypeError):
        world.drive(run)
    assert job.read_run(world.db, run).position == 1
    world.client.delete("vmpooler__dlq__clone")
    world.client.zadd("vmpooler__dlq__clone", {raw: world.now})
    assert world.left() == {kept}
    assert world.drive(run).counts["redriven"] == 2
    assert len(world.members(Queue.PENDING)) == 2


def test_a_dead_letter_that_comes_later_is_not_met_in_the_same_run(world: Redriver) -> None:
    world.dead_letter()
    run = world.start()
    later = world.dead_letter(age=90)
    assert world.drive(run).counts["redriven"] == 1
    assert world.left() == {later}


def test_a_successor_that_fails_at_once_is_not_met_in_the_same_run(world: Redriver) -> None:
    world.dead_letter()
    world.dead_letter(age=30)
    run = world.start()
    for _ in world.steps(run):
        for one in world.messages():
            world.fail(one.kwargs["vm"], RuntimeError("again"))
    last = job.read_run(world.db, run)
    assert (last.state, last.total, last.counts["redriven"], last.counts["failed_again"]) == ("done", 2, 2, 2)
    assert len(world.left()) == 2, "the dead letters of the successors"
    assert len(world.messages()) == 2


def test_nothing_chosen_is_a_run_that_is_over_at_once(world: Redriver) -> None:
    assert world.redrive() == {}


def test_a_run_over_many_dead_letters_holds_only_pages_of_them(world: Redriver) -> None:
    size, count = 1_500, 12_000
    members = {json.dumps({"id": f"{number:016d}", "task": "x" * size}): number for number in range(count)}
    world.client.zadd("vmpooler__dlq__tasks", members)
    selection = Selection(wanted=DeadLetterFilter())
    tracemalloc.start()
    try:
        run = job.start(world.db, selection, RunOptions(who="test", why=None, rate=0, max_failed_percent=100), NOW)
        assert next(world.steps(run)).position == 1
        assert world.preview().selected == count - 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size * count / 2
