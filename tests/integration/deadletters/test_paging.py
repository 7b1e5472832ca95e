"""Paging through thousands of dead letters while others come and go: complete and without doubles."""

import json
import random
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.support.world import World
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.deadletters import query as job
from vmpooler_tasks.jobs.deadletters.sorting import SortColumn, SortOrder, read_sorted_page
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters import read as dlq

pytestmark = pytest.mark.slow(seconds=15)

CLONE, PENDING = DeadLetterQueue.CLONE, DeadLetterQueue.PENDING
Scores = Callable[[int], float]

SCORES: dict[str, Scores] = {
    "all in one second": lambda _: 1000.0,
    "each in its own second": float,
    "a few seconds": lambda index: 1000.0 + index % 3,
    "fractions": lambda index: 1000 + index / 4096,
    "a crowd among others": lambda index: 1000.0 if index < 5000 else float(index),
}


def fill(world: World, count: int, score: Scores, queue: DeadLetterQueue = CLONE, start: int = 0) -> set[bytes]:
    """Letters whose ids are in no order, half of them in VMPooler's form."""
    chance = random.Random(count)
    members: dict[bytes, float] = {}
    for index in range(start, start + count):
        body = {"vm": f"pooler-{index}", "pool": "p"}
        if index % 2:
            raw = json.dumps({**body, "id": f"{chance.getrandbits(64):016x}"})
        else:
            raw = f"pooler-{index}:1000:{json.dumps(body)}"
        members[raw.encode()] = score(index)
    world.client.zadd(keys.dead_letters(queue), members)
    return set(members)


def walk(world: World, limit: int, between: Callable[[], None] = lambda: None) -> list[StoredDeadLetter]:
    dead_letters: list[StoredDeadLetter] = []
    cursor: str | None = None
    while True:
        page = job.read_page(world.db, DeadLetterFilter(), limit, cursor)
        dead_letters += page.entries
        if page.next_cursor is None:
            return dead_letters
        assert len(page.entries) == limit
        cursor = page.next_cursor
        between()


def walk_once(world: World, limit: int) -> Sequence[StoredDeadLetter]:
    return job.read_page(world.db, DeadLetterFilter(), limit).entries


@pytest.fixture(params=[dlq.HELD_BYTES, 60_000], ids=["all are held", "few are held"])
def held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one time that exceed this are read again."""
    monkeypatch.setattr(dlq, "HELD_BYTES", request.param)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("kind", SCORES)
def test_ten_thousand_dead_letters_are_paged_once_each_newest_first(world: World, kind: str) -> None:
    everything = fill(world, 10_000, SCORES[kind])
    dead_letters = walk(world, 2500)
    assert len(dead_letters) == 10_000
    assert {dead_letter.raw for dead_letter in dead_letters} == everything
    scores = [dead_letter.score for dead_letter in dead_letters]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("kind", ["all in one second", "each in its own second", "a few seconds"])
def test_dead_letters_that_arrive_meanwhile_hide_and_double_none(world: World, kind: str) -> None:
    before = fill(world, 3000, SCORES[kind])
    arrived = 3000

    def arrive() -> None:
        nonlocal arrived
        fill(world, 40, SCORES[kind], start=arrived)
        arrived += 40

    raws = [dead_letter.raw for dead_letter in walk(world, 300, arrive)]
    assert len(raws) == len(set(raws))
    assert before <= set(raws)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("kind", ["all in one second", "each in its own second"])
def test_dead_letters_that_arrive_while_one_page_is_read_hide_and_double_none(world: World, kind: str) -> None:
    before = fill(world, 3500, SCORES[kind])
    raws = []
    for index, dead_letter in enumerate(dlq.newest_first(world.db, [CLONE])):
        raws.append(dead_letter.raw)
        if index % 500 == 0:
            fill(world, 20, SCORES[kind], start=10_000 + index)
    assert len(raws) == len(set(raws))
    assert before <= set(raws)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("kind", ["all in one second", "a few seconds"])
def test_dead_letters_that_arrive_between_two_reads_double_none(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fill(world, 3500, SCORES[kind])
    read, arrived = world.db.run, iter(range(10_000, 20_000, 50))

    def arrive_and_read(*args: Any, **options: Any) -> Any:
        fill(world, 50, SCORES[kind], start=next(arrived))
        return read(*args, **options)

    monkeypatch.setattr(world.db, "run", arrive_and_read)
    raws = [dead_letter.raw for dead_letter in dlq.newest_first(world.db, [CLONE])]
    assert len(raws) == len(set(raws))
    assert before <= set(raws)


def test_dead_letters_that_are_deleted_meanwhile_hide_no_other(world: World) -> None:
    before = fill(world, 3500, float)
    raws: list[bytes] = []
    for index, dead_letter in enumerate(dlq.newest_first(world.db, [CLONE])):
        raws.append(dead_letter.raw)
        if index % 500 == 499:
            world.client.zrem(keys.dead_letters(CLONE), *raws[-400:])
    assert set(raws) == before


def test_queues_are_merged_by_time_across_pages(world: World) -> None:
    everything = fill(world, 1500, float) | fill(world, 1500, lambda index: index + 0.5, PENDING)
    dead_letters = walk(world, 700)
    assert {dead_letter.raw for dead_letter in dead_letters} == everything
    assert len(dead_letters) == 3000
    assert [dead_letter.score for dead_letter in dead_letters] == sorted(
        (dead_letter.score for dead_letter in dead_letters), reverse=True
    )


@pytest.mark.usefixtures("held")
def test_the_order_within_a_second_is_the_same_for_each_reader(world: World) -> None:
    fill(world, 2500, SCORES["all in one second"])
    whole = [dead_letter.id for dead_letter in walk(world, 2500)]
    assert whole == [dead_letter.id for dead_letter in walk(world, 77)]
    assert whole == sorted(whole)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("limit", [7, 500])
def test_dead_letters_of_one_time_and_one_id_are_all_there_once(world: World, limit: int) -> None:
    """Whoever wrote them: the same member may stand in two queues, and an id may come again and again."""
    members = {json.dumps({"id": f"{number % 2:016}", "vm": f"vm-{number}"}).encode(): 1000.0 for number in range(150)}
    large = {json.dumps({"id": "f" * 16, "error_message": f"{number}" * 900}).encode(): 1000.0 for number in range(60)}
    for queue in (CLONE, PENDING):
        world.client.zadd(keys.dead_letters(queue), {**members, **large})
    expected = sorted((queue, raw) for queue in (CLONE, PENDING) for raw in (*members, *large))
    assert sorted((one.queue, one.raw) for one in walk(world, limit)) == expected
    oldest = dlq.oldest_first(world.db, [CLONE, PENDING])
    assert sorted((one.queue, one.raw) for one in oldest) == expected


def test_sorted_pages_have_all_dead_letters_of_one_id(world: World) -> None:
    members = {json.dumps({"id": "same", "vm": f"vm-{number}", "pool": "p"}).encode(): 1000.0 for number in range(50)}
    world.client.zadd(keys.dead_letters(CLONE), members)
    found: list[bytes] = []
    cursor: str | None = None
    for _ in range(8):
        page = read_sorted_page(
            world.db, DeadLetterFilter(), SortColumn.POOL, SortOrder.ASCENDING, limit=7, after=cursor
        )
        found += [one.raw for one in page.entries]
        cursor = page.next_cursor
    assert (sorted(found), cursor) == (sorted(members), None)


def test_no_more_of_one_time_are_held_than_the_bound_of_bytes(world: World) -> None:
    """A page of five takes little memory, also if thousands failed at the same time."""
    large = {json.dumps({"id": f"{number:016}", "error_message": "x" * 50_000}): 1000.0 for number in range(1000)}
    world.client.zadd(keys.dead_letters(CLONE), large)
    tracemalloc.start()
    try:
        assert [one.id for one in walk_once(world, 5)] == [f"{number:016}" for number in range(5)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * dlq.HELD_BYTES < sum(map(len, large))


def test_a_page_reads_no_further_than_it_has_to(world: World) -> None:
    fill(world, 5000, float)
    world.client.config_resetstat()
    assert len(job.read_page(world.db, DeadLetterFilter(), 50).entries) == 50
    reads = world.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert reads <= len(DeadLetterQueue) + 1


def test_a_filter_narrows_pages_without_shortening_them(world: World) -> None:
    fill(world, 2000, float)
    wanted = DeadLetterFilter(since=500, until=1499)
    first = job.read_page(world.db, wanted, 600)
    second = job.read_page(world.db, wanted, 600, first.next_cursor)
    assert (len(first.entries), len(second.entries), second.next_cursor) == (600, 400, None)


def test_an_exactly_full_last_page_names_no_next(world: World) -> None:
    fill(world, 100, float)
    assert job.read_page(world.db, DeadLetterFilter(), 100).next_cursor is None
    assert job.read_page(world.db, DeadLetterFilter(), 99).next_cursor is not None


@pytest.mark.parametrize("cursor", ["", "x", "x:y", "next", "1", "1:", "1:0123456789abcdef"])
def test_what_is_no_cursor_is_refused(world: World, cursor: str) -> None:
    fill(world, 3, float)
    with pytest.raises(ValueError, match=r"could not convert|the cursor has no digest"):
        job.read_page(world.db, DeadLetterFilter(), 2, cursor)


def test_scores_beyond_every_calendar_are_paged_as_well(world: World) -> None:
    world.client.zadd(keys.dead_letters(CLONE), {"a": "inf", "b": "-inf", "c": 1e300, "d": -1e300, "e": 0})
    for limit in (1, 2):
        assert [dead_letter.raw for dead_letter in walk(world, limit)] == [b"a", b"c", b"e", b"d", b"b"]


@pytest.mark.parametrize("cursor", ["nan:x", "-nan:", "NaN:0123456789abcdef"])
def test_a_cursor_with_a_time_that_no_dead_letter_can_have_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(ValueError, match="no dead letter has such a time"):
        job.read_page(world.db, DeadLetterFilter(), 10, cursor)


def test_a_queue_that_is_none_is_left_out_and_named(world: World) -> None:
    world.client.set("vmpooler__dlq__pending", "x")
    world.client.zadd("vmpooler__dlq__clone", {"{}": 1})
    wanted, bad = job.without_unreadable(world.db, DeadLetterFilter(vm="a"))
    assert (wanted.vm, bad) == ("a", ["vmpooler__dlq__pending"])
    assert wanted.queues == (DeadLetterQueue.CLONE, DeadLetterQueue.READY, DeadLetterQueue.TASKS)
    assert job.sizes(world.db) == {"clone": 1, "ready": 0, "tasks": 0}
    with pytest.raises(WrongTypeError, match="vmpooler__dlq__pending: not a sorted set"):
        job.without_unreadable(world.db, DeadLetterFilter(queues=(DeadLetterQueue.PENDING,)))
