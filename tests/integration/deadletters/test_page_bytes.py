"""Lists read dead letters by bytes: the server sends little more than what is shown, however large each one is."""

import json
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from tests.support.world import World
from vmpooler_tasks.jobs.deadletters import query as job
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters import read

pytestmark = [pytest.mark.both_servers, pytest.mark.slow(seconds=15)]

CLONE, TASKS = DeadLetterQueue.CLONE, DeadLetterQueue.TASKS
LARGE = 2_000_000
OVERHEAD = 50_000
"""Bytes of the protocol, and of the reply with the server's figures."""


def add(world: World, numbers: range, size: int, queue: DeadLetterQueue = TASKS) -> None:
    """Add dead letters of this size, each in its own second. Every second one has VMPooler's form."""
    for start in range(numbers.start, numbers.stop, 1000):
        members: dict[str, float] = {}
        for number in range(start, min(start + 1000, numbers.stop)):
            body = json.dumps({"vm": f"vm-{number}", "id": f"{number:016x}", "args": ["x" * size]})
            members[f"vm-{number}:{number}:{body}" if number % 2 else body] = number
        world.client.zadd(keys.dead_letters(queue), members)


def sent(world: World, action: Callable[[], object]) -> int:
    """Return the bytes that the server sends while the action runs."""
    before = int(world.client.info("stats")["total_net_output_bytes"])
    action()
    return int(world.client.info("stats")["total_net_output_bytes"]) - before


def numbers(entries: Iterator[StoredDeadLetter]) -> list[int]:
    return [int(entry.score) for entry in entries]


def test_a_short_list_of_large_dead_letters_reads_few_of_them(world: World) -> None:
    add(world, range(60), LARGE)
    add(world, range(100, 102), LARGE, CLONE)
    pages: list[job.DeadLetterPage] = []
    wanted = DeadLetterFilter()
    # Shown are three. One more is read of each queue, and one more to know whether others follow.
    assert sent(world, lambda: pages.append(job.read_page(world.db, wanted, 3))) <= 6 * (LARGE + OVERHEAD)
    assert sent(world, lambda: pages.append(job.read_page(world.db, wanted, 3, pages[0].next_cursor))) <= (
        7 * (LARGE + OVERHEAD)
    )
    assert [int(entry.score) for page in pages for entry in page.entries] == [101, 100, 59, 58, 57, 56]


def test_the_oldest_of_large_dead_letters_are_read_one_by_one_as_well(world: World) -> None:
    add(world, range(30), LARGE)
    found: list[int] = []
    read_bytes = sent(world, lambda: found.extend(numbers(islice(job.find_oldest(world.db, DeadLetterFilter()), 3))))
    assert (found, read_bytes <= 4 * (LARGE + OVERHEAD)) == ([0, 1, 2], True)


def test_large_dead_letters_behind_many_small_ones_are_not_read_with_them(world: World) -> None:
    add(world, range(20), LARGE)
    add(world, range(20, 320), 100)
    found = job.find(world.db, DeadLetterFilter())
    first: list[int] = []
    assert sent(world, lambda: first.extend(numbers(islice(found, 299)))) <= read.PAGE_BYTES + OVERHEAD
    assert first + numbers(found) == list(range(319, -1, -1))


def test_a_page_has_a_megabyte_at_most(world: World) -> None:
    add(world, range(100), 64 * 1024)
    pages: list[int] = []
    read_bytes = sent(world, lambda: list(job.find(world.db, DeadLetterFilter(), on_read=pages.append)))
    assert sum(pages) == 100
    assert set(pages) <= {0, 10, 15}  # 15 of 64 KiB, the rest, and the queues that are empty
    assert read_bytes <= 100 * 66_000 + OVERHEAD


def test_small_dead_letters_are_read_a_thousand_at_a_time(world: World) -> None:
    add(world, range(3500), 100)
    pages: list[int] = []
    list(job.find(world.db, DeadLetterFilter(queues=[TASKS]), on_read=pages.append))
    assert pages == [1000, 1000, 1000, 500]


def test_completion_reads_a_megabyte_of_each_queue(world: World) -> None:
    add(world, range(20), LARGE)
    add(world, range(20), 100, CLONE)
    world.client.set(keys.dead_letters(DeadLetterQueue.PENDING), "x")
    ids: list[str] = []
    assert sent(world, lambda: ids.extend(read.newest_ids(world.db, 10))) <= LARGE + OVERHEAD
    assert len(ids) == 11
