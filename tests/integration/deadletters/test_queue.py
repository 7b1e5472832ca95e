"""Dead letters in Redis: pushed once, trimmed, found in both forms, deleted with a trace."""

import json
import re
from typing import Any

import pytest

from tests.support.cycles import audit, counters, cycle
from tests.support.promises import WEEK, dead_letters, fail
from tests.support.world import POOL, World
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.deadletters import query as job
from vmpooler_tasks.jobs.deadletters import retention
from vmpooler_tasks.jobs.deadletters.delete import delete as delete_dead_letters
from vmpooler_tasks.model.deadletters.entry import DeadLetter, StoredDeadLetter, error_of
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters import read as dlq
from vmpooler_tasks.store.deadletters.push import push as push_dead_letter
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed, trim

pytestmark = pytest.mark.both_servers

DAY = 86400

CLONE, PENDING, TASKS = DeadLetterQueue.CLONE, DeadLetterQueue.PENDING, DeadLetterQueue.TASKS


def dead_letter(name: str = "a", **changes: Any) -> DeadLetter:
    whole: dict[str, Any] = {
        "vm": f"pooler-{name}",
        "pool": POOL,
        "queue_from": "clone",
        "error_class": "Timeout",
        "error_message": f"no answer from '{name}' in 5 s",
        "failed_at": "2024-01-15T10:30:00Z",
        "id": f"id-{name}",
    }
    return DeadLetter(**{**whole, **changes})


def push(world: World, name: str = "a", limits: DeadLetterLimits = WEEK, **changes: Any) -> tuple[bool, Trimmed]:
    return push_dead_letter(world.db, CLONE, dead_letter(name, **changes), now=world.now, limits=limits)


def of_vmpooler(world: World, name: str, queue: DeadLetterQueue = CLONE, age: int = 0, **fields: Any) -> bytes:
    """An entry in VMPooler's own form."""
    epoch = int(world.now - age)
    body = json.dumps({"vm": name, "pool": POOL, "error_class": "RuntimeError", "error_message": "no", **fields})
    raw = f"{name}:{epoch}:{body}".encode()
    world.client.zadd(keys.dead_letters(queue), {raw: epoch})
    return raw


def found(world: World, **wanted: Any) -> list[StoredDeadLetter]:
    return list(job.find(world.db, DeadLetterFilter(**wanted)))


def vms(dead_letters_found: list[StoredDeadLetter]) -> list[str]:
    return [each.text("vm") for each in dead_letters_found]


def test_a_dead_letter_is_pushed_with_the_epoch_as_its_score_and_counted(world: World) -> None:
    world.now += 0.75
    assert push(world) == (True, Trimmed(0, 0))
    [(member, score)] = world.client.zrange("vmpooler__dlq__clone", 0, -1, withscores=True)
    assert member.decode() == dead_letter().member()
    assert score == int(world.now)
    assert counters(world) == {"dead_letters:clone": 1}
    assert 0 < world.client.ttl("vmpooler__dlq__clone") <= WEEK.ttl_seconds


def test_the_same_failure_delivered_twice_is_one_entry(world: World) -> None:
    assert push(world)[0]
    world.now += 60
    assert not push(world, error_message="reported a second time", failed_at="2024-01-15T10:31:00Z")[0]
    assert push(world, "b")[0]
    assert [entry["vm"] for entry in dead_letters(world, "clone")] == ["pooler-a", "pooler-b"]
    assert counters(world) == {"dead_letters:clone": 2}


def test_one_failure_in_two_queues_is_two_entries(world: World) -> None:
    push(world)
    assert push_dead_letter(world.db, TASKS, dead_letter(), now=world.now, limits=WEEK)[0]


def test_a_failure_is_known_for_as_long_as_dead_letters_are_kept(world: World) -> None:
    short = DeadLetterLimits(100, 10)
    push(world, limits=short)
    world.now += 100
    assert not push(world, limits=short)[0]
    world.now += 1
    assert push(world, limits=short)[0]


def test_a_late_second_delivery_does_not_bring_a_deleted_dead_letter_back(world: World) -> None:
    push(world)
    delete_dead_letters(world.db, found(world), who="anna", why=None)
    assert not push(world)[0]
    assert dead_letters(world, "clone") == []


def test_what_is_known_of_past_failures_is_bounded_like_the_dead_letters(world: World) -> None:
    few = DeadLetterLimits(WEEK.ttl_seconds, 2)
    for index in range(30):
        world.now += 1
        push(world, str(index), few)
    assert world.client.zcard(keys.DEAD_LETTER_IDS.decode()) == 20
    assert not push(world, "29", few)[0]


def test_the_cap_drops_the_oldest_and_counts_them(world: World) -> None:
    few = DeadLetterLimits(WEEK.ttl_seconds, 3)
    for index in range(5):
        world.now += 1
        _, trimmed = push(world, str(index), few)
        assert trimmed == Trimmed(dropped=int(index >= 3), expired=0)
    assert [entry["vm"] for entry in dead_letters(world, "clone")] == ["pooler-2", "pooler-3", "pooler-4"]
    assert counters(world) == {"dead_letters:clone": 5, "dead_letters_dropped:clone": 2}


def test_a_push_lets_go_what_is_too_old(world: World) -> None:
    short = DeadLetterLimits(100, 10)
    push(world, "old", short)
    world.now += 50
    push(world, "young", short)
    world.now += 51
    assert push(world, "new", short)[1] == Trimmed(dropped=0, expired=1)
    assert [entry["vm"] for entry in dead_letters(world, "clone")] == ["pooler-young", "pooler-new"]


def test_a_push_is_refused_whole_where_the_key_is_of_another_type(world: World) -> None:
    world.client.set("vmpooler__dlq__clone", "x")
    with pytest.raises(WrongTypeError):
        push(world)
    world.client.delete("vmpooler__dlq__clone")
    assert push(world)[0], "it is not taken for one that was written"


def test_a_dead_letter_is_kept_even_when_redis_is_out_of_memory(world: World) -> None:
    world.client.script_flush()
    world.client.config_set("maxmemory", "1")
    try:
        assert push(world)[0]
    finally:
        world.client.config_set("maxmemory", "0")
    assert [entry["vm"] for entry in dead_letters(world, "clone")] == ["pooler-a"]


def test_dead_letters_that_are_too_old_are_never_counted_as_dropped(world: World) -> None:
    old = {f"old-{index}": world.now - 10 * DAY + index for index in range(2500)}
    world.client.zadd("vmpooler__dlq__clone", old)
    trimmed = trim(world.db, DeadLetterQueue.CLONE, now=world.now, limits=DeadLetterLimits(DAY, 100))
    assert trimmed == Trimmed(dropped=0, expired=2500)
    assert counters(world) == {"dead_letters_expired:clone": 2500}


def test_no_call_drops_more_than_a_thousand_and_trimming_drops_all(world: World) -> None:
    world.client.zadd("vmpooler__dlq__clone", {f"letter-{index}": world.now for index in range(2500)})
    limits = DeadLetterLimits(DAY, 100)
    assert push(world, "new", limits)[1] == Trimmed(dropped=1000, expired=0)
    trimmed = trim(world.db, DeadLetterQueue.CLONE, now=world.now, limits=limits)
    assert trimmed == Trimmed(dropped=1401, expired=0)
    assert dlq.size(world.db, DeadLetterQueue.CLONE) == 100


@pytest.mark.parametrize("page", [1, 7, 20, 1000, 5000])
def test_trimming_removes_all_whatever_the_page(world: World, page: int) -> None:
    """Redis removes as many as the caller's page, so that the caller never stops too early."""
    world.client.zadd("vmpooler__dlq__clone", {f"old-{index}": world.now - 10 * DAY for index in range(20)})
    world.client.zadd("vmpooler__dlq__clone", {f"new-{index}": world.now for index in range(25)})
    trimmed = trim(world.db, CLONE, now=world.now, limits=DeadLetterLimits(DAY, 5), page=page)
    assert trimmed == Trimmed(dropped=20, expired=20)
    assert dlq.size(world.db, CLONE) == 5


def test_a_page_of_thousands_leaves_no_expired_dead_letter_behind(world: World) -> None:
    world.client.zadd("vmpooler__dlq__clone", {f"old-{index}": world.now - 10 * DAY for index in range(2500)})
    trimmed = trim(world.db, CLONE, now=world.now, limits=DeadLetterLimits(DAY, 100), page=5000)
    assert trimmed == Trimmed(dropped=0, expired=2500)
    assert dlq.size(world.db, CLONE) == 0


def test_a_dead_letter_that_was_not_written_is_not_remembered(world: World) -> None:
    world.client.set("vmpooler__dlq__clone", "a string")
    with pytest.raises(WrongTypeError):
        push(world, "new")
    world.client.delete("vmpooler__dlq__clone")
    assert push(world, "new")[0]


def test_a_broken_counter_keeps_nothing_from_being_done(world: World) -> None:
    world.client.hset(
        "vmpooler_tasks__counters", mapping={"dead_letters:pending": "abc", "purged:pending:" + POOL: "x"}
    )
    world.vm(Queue.PENDING, "pooler-a", 7201)
    assert cycle(world).purged == {"pending": 1}
    assert world.members(Queue.PENDING) == set()
    assert dlq.size(world.db, DeadLetterQueue.PENDING) == 1


def test_what_is_dropped_is_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "vmpooler_tasks")
    for index in range(3):
        push(world, str(index))
    assert retention.trim_all(world.db, DeadLetterLimits(WEEK.ttl_seconds, 1), world.now) == []
    world.now += WEEK.ttl_seconds + 1
    retention.trim_all(world.db, WEEK, world.now)
    assert caplog.messages == [
        "[!] [dlq] Dropped the 2 oldest of 'clone': more than dlq_max_entries (1)",
        "[*] [dlq] 1 dead letters of 'clone' expired",
    ]
    world.client.set("vmpooler__dlq__ready", "x")
    [trouble] = retention.trim_all(world.db, WEEK, world.now)
    assert trouble.startswith("Error checking dead letters 'ready'")


def test_both_forms_are_listed_as_one_sequence_newest_first(world: World) -> None:
    of_vmpooler(world, "old-style", age=30)
    of_vmpooler(world, "odd:na{me", PENDING, age=10)
    fail(world, "new-style", PENDING)
    world.client.zadd("vmpooler__dlq__ready", {"garbage": world.now - 20})
    assert vms(found(world)) == ["new-style", "odd:na{me", "", "old-style"]
    assert [str(each.queue) for each in found(world)] == ["pending", "pending", "ready", "clone"]
    assert len({each.id for each in found(world)}) == 4


def test_both_forms_are_filtered_alike(world: World) -> None:
    raw = of_vmpooler(world, "pooler-a", age=30, request_id="req-1")
    push(world, "a", request_id="req-1")
    push(world, "b", pool="other", request_id="req-2", error_class="RuntimeError")
    by_id = found(world, vm="pooler-a")[1]
    assert by_id.raw == raw
    for wanted, expected in (
        ({"vm": "pooler-a"}, ["pooler-a", "pooler-a"]),
        ({"request": "req-1"}, ["pooler-a", "pooler-a"]),
        ({"pool": "other"}, ["pooler-b"]),
        ({"error_class": "RuntimeError"}, ["pooler-b", "pooler-a"]),
        ({"match": re.compile("^RuntimeError: no$")}, ["pooler-a"]),
        ({"until": world.now - 30}, ["pooler-a"]),
        ({"since": world.now - 29}, ["pooler-a", "pooler-b"]),
        ({"ids": frozenset({by_id.id})}, ["pooler-a"]),
        ({"queues": [PENDING, TASKS]}, []),
    ):
        assert sorted(vms(found(world, **wanted))) == sorted(expected), wanted


def test_sizes_count_every_queue(world: World) -> None:
    of_vmpooler(world, "a")
    fail(world)
    assert job.sizes(world.db) == {"pending": 1, "clone": 1, "ready": 0, "tasks": 0}


def test_a_queue_of_the_wrong_type_is_an_error_to_whoever_reads_it(world: World) -> None:
    world.client.set("vmpooler__dlq__clone", "x")
    with pytest.raises(WrongTypeError):
        found(world)
    assert found(world, queues=[PENDING]) == []


def test_errors_are_grouped_but_for_numbers_and_names(world: World) -> None:
    for name in ("a", "b", "c"):
        push(world, name)
        world.now += 10
    of_vmpooler(world, "x", PENDING, age=0, error_class="Timeout", error_message="no answer from 'x' in 99 s")
    push(world, "d", error_message="template not found", pool="other")
    first, second = job.group_by_error(world.db, DeadLetterFilter())
    assert (first.error_class, first.message, first.count) == ("Timeout", "no answer from <name> in <n> s", 4)
    assert (first.oldest, first.newest) == (world.now - 30, world.now)
    assert first.as_json()["queues"] == ["clone", "pending"]
    assert first.as_json()["pools"] == [POOL]
    assert first.example_id == found(world, vm="x")[0].id
    assert (second.message, second.count, second.as_json()["pools"]) == ("template not found", 1, ["other"])
    assert job.group_by_error(world.db, DeadLetterFilter(pool="other"))[0].count == 1


def test_errors_that_differ_in_the_name_of_their_vm_are_one_group(world: World) -> None:
    for name in ("d-beige-flounder", "d-red-fox", "d-red-fox-2"):
        push(world, name, error_message=f"pooler-{name} does not answer")
    of_vmpooler(world, "old", PENDING, age=0, error_class="Timeout", error_message="old does not answer")
    [group] = job.group_by_error(world.db, DeadLetterFilter())
    assert (group.error_class, group.message, group.count) == ("Timeout", "<vm> does not answer", 4)
    assert {error_of(one) for one in found(world)} == {"Timeout: <vm> does not answer"}


def test_deleting_takes_both_forms_counts_and_leaves_a_line_in_the_audit(world: World) -> None:
    of_vmpooler(world, "old")
    push(world, "a")
    push(world, "b")
    fail(world, "kept", PENDING)
    gone = found(world, queues=[CLONE])[1:]
    assert delete_dead_letters(world.db, gone, who="anna", why="fixed") == 2
    assert len(found(world, queues=[CLONE])) == 1
    assert counters(world)["dead_letters_deleted:clone"] == 2
    assert audit(world) == [{"count": "2", "action": "delete", "who": "anna", "why": "fixed", "queue": "clone"}]
    assert delete_dead_letters(world.db, gone, who="anna", why=None) == 0, "they are gone"
    assert len(audit(world)) == 1, "nothing was done, so nothing is recorded"


def test_deleting_thousands_works_in_batches_that_add_up(world: World) -> None:
    world.client.zadd("vmpooler__dlq__tasks", {f"v{index}:1:{{}}": index for index in range(1201)})
    assert delete_dead_letters(world.db, found(world), who="anna", why=None) == 1201
    assert world.client.zcard("vmpooler__dlq__tasks") == 0
    assert sum(int(entry["count"]) for entry in audit(world)) == 1201
    assert counters(world)["dead_letters_deleted:tasks"] == 1201


def test_dead_letters_that_somebody_else_deleted_meanwhile_are_not_counted(world: World) -> None:
    push(world, "a")
    push(world, "b")
    both = found(world)
    world.client.zrem("vmpooler__dlq__clone", both[0].raw)
    assert delete_dead_letters(world.db, both, who="anna", why=None) == 1
    assert audit(world)[0]["count"] == "1"
