"""A run of redrives: interrupted anywhere and resumed by anybody, cancelled, stopped by failures, and recorded once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

import pytest

from tests.support.cycles import audit, counters
from tests.support.pool_world import pool
from tests.support.redriver import Redriver
from tests.support.servers import TestServer
from tests.support.world import NOW
from vmpooler_tasks.errors import StoreUnavailableError
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.redrive import RedriveOutcome, RunState
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.redrive import runs as redrives
from vmpooler_tasks.store.redrive.runs import KEPT_SECONDS, Run
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.redrive import RedriveBroker

pytestmark = [pytest.mark.both_servers, pytest.mark.slow(seconds=10)]

DEAD_LETTERS = 6


@pytest.fixture
def world(db: Database, server: TestServer) -> Iterator[Redriver]:
    with ExitStack() as stack:
        yield Redriver(db, url=server.url, stack=stack, pools=[pool(size=100)], config={"task_limit": 100})


def a_mixture(world: Redriver) -> str:
    """A run over three dead letters of VMs and three of tasks, of which two are closed."""
    for number in range(2):
        world.dead_letter("clone", 100 - number)
        world.dead_letter("tasks", 90 - number, args=[number])
    world.dead_letter("clone", 80, pool="retired")
    world.dead_letter("tasks", 70, task=names.CHECK_POOLS)
    return world.start()


def each_once(world: Redriver, run: str) -> None:
    """What has to be true of that run, however it came to its end."""
    last = job.read_run(world.db, run)
    assert (last.state, last.position, last.total) == (RunState.DONE, DEAD_LETTERS, DEAD_LETTERS)
    assert {name: count for name, count in last.counts.items() if count} == {"redriven": 4, "obsolete": 2}
    assert sorted(sent.args for sent in world.messages(names.MAINTENANCE_QUEUE)) == [[0], [1]]
    assert len(world.names_in(Queue.PENDING)) == world.slots() == 2
    assert world.left() == set()
    assert [(entry["state"], entry["count"], entry["obsolete"]) for entry in audit(world)] == [("done", "4", "2")]
    assert counters(world) == {
        "dead_letters_redriven:clone": 2,
        "dead_letters_redriven:tasks": 2,
        "dead_letters_obsolete:clone": 1,
        "dead_letters_obsolete:tasks": 1,
    }


@pytest.mark.parametrize("steps", range(DEAD_LETTERS + 1))
def test_an_interrupted_run_continues_where_it_was(world: Redriver, steps: int) -> None:
    run = a_mixture(world)
    list(islice(world.steps(run), steps))
    world.drive(run)
    each_once(world, run)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("calls", range(1, 40))
def test_a_run_killed_around_any_of_its_steps_loses_and_doubles_nothing(
    world: Redriver, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """Each step either happened or did not: the process may die on both sides of it."""
    run, count = a_mixture(world), Counter[str]()
    real = Database.run

    def dies(db: Database, script: str, *words: Any) -> Any:
        count["calls"] += 1
        if count["calls"] == calls:
            raise Killed
        answer = real(db, script, *words)
        count["calls"] += 1
        if count["calls"] == calls:
            raise Killed
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(Database, "run", dies)
        try:
            world.drive(run)
        except Killed:
            pass
        else:
            assert count["calls"] < calls
    if job.read_run(world.db, run).state is RunState.RUNNING:
        world.drive(run)
    each_once(world, run)


def test_a_clone_whose_message_was_never_sent_is_taken_up_later(
    world: Redriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise Killed

    world.dead_letter()
    run = world.start()
    with monkeypatch.context() as patched:
        patched.setattr(RedriveBroker, "hand_out", dies)
        with pytest.raises(Killed):
            world.drive(run)
    assert world.drive(run).counts["redriven"] == 1
    assert world.messages() == []
    world.now += 301
    assert [work.vm for work in world.reap()] == list(world.names_in(Queue.PENDING))


def test_two_that_drive_one_run_at_once_share_its_dead_letters(world: Redriver, server: TestServer) -> None:
    many = 40
    for number in range(many):
        if number % 2:
            world.dead_letter("tasks", number + 1, args=[number])
        else:
            world.dead_letter("clone", number + 1)
    run, together = world.start(), threading.Barrier(2)
    seen: list[Run] = []

    def drive() -> None:
        own = Redriver(Database(server.url), url=server.url, pools=world.pools, config=world.config)
        with own.stack:
            together.wait()
            seen.append(own.drive(run))
        own.db.close()

    threads = [threading.Thread(target=drive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(last.state, last.position, last.counts["redriven"]) for last in seen] == [("done", many, many)] * 2
    assert sorted(sent.args for sent in world.messages(names.MAINTENANCE_QUEUE)) == [[n] for n in range(1, many, 2)]
    assert {sent.kwargs["vm"] for sent in world.messages()} == world.names_in(Queue.PENDING)
    assert len(world.messages()) == many / 2
    assert len(audit(world)) == 1
    assert world.left() == set()


def test_a_run_is_cancelled_between_two_dead_letters_and_the_rest_stays(world: Redriver) -> None:
    run = a_mixture(world)
    steps = world.steps(run)
    next(steps)
    assert job.cancel(world.db, run)
    last = list(steps)[-1]
    assert (last.state, last.position) == (RunState.CANCELLED, 1)
    assert len(world.left()) == DEAD_LETTERS - 1
    assert list(world.steps(run)) == [], "it cannot be resumed"
    assert not job.cancel(world.db, run), "it had ended before"
    assert [(entry["state"], entry["count"]) for entry in audit(world)] == [("cancelled", "1")]


def test_a_step_of_a_run_that_was_cancelled_meanwhile_does_nothing(world: Redriver) -> None:
    run = a_mixture(world)
    driver = job._Driver(world.db, world.settings, world.broker(), world.clock, job.read_run(world.db, run))
    dead_letter = redrives.read_page(world.db, run, 0)[0]
    job.cancel(world.db, run)
    before = world.snapshot()
    assert driver._redrive_vm(0, dead_letter) is RedriveOutcome.MOVED_ON
    assert driver._redrive_task(1, dead_letter, RedriveOutcome.OBSOLETE) is RedriveOutcome.MOVED_ON
    assert driver.step(0) is RedriveOutcome.MOVED_ON
    assert world.snapshot() == before


def test_a_dead_letter_that_is_kept_is_passed(world: Redriver) -> None:
    kept = world.dead_letter("tasks", args=["[redacted]"])
    world.dead_letter("tasks", 30)
    assert world.redrive() == {"kept": 1, "redriven": 1}
    assert world.left() == {kept}


def fail_again(world: Redriver, run: str, times: int) -> None:
    for _ in range(times):
        redrives.count_failure(world.db, run)


def test_a_run_stops_when_more_than_the_set_share_has_failed_again(world: Redriver) -> None:
    for number in range(20):
        world.dead_letter("tasks", 100 - number)
    run = world.start(max_failed=50)
    steps = world.steps(run)
    list(islice(steps, 10))
    fail_again(world, run, 5)
    assert next(steps).position == 11, "half of ten is not more than half"
    fail_again(world, run, 2)
    last = list(steps)[-1]
    assert (last.state, last.position, last.counts["failed_again"]) == (RunState.STOPPED, 12, 7)
    assert len(world.left()) == 8
    assert [(one["state"], one["count"], one["failed_again"]) for one in audit(world)] == [("stopped", "12", "7")]


def test_too_few_to_tell_do_not_stop_a_run(world: Redriver) -> None:
    for number in range(9):
        world.dead_letter("tasks", 100 - number)
    run = world.start(max_failed=0)
    for _ in world.steps(run):
        fail_again(world, run, 1)
    assert job.read_run(world.db, run).state is RunState.DONE


def test_a_share_of_a_hundred_never_stops(world: Redriver) -> None:
    for number in range(12):
        world.dead_letter("tasks", 100 - number)
    run = world.start(max_failed=100)
    for _ in world.steps(run):
        fail_again(world, run, 1)
    assert job.read_run(world.db, run).state is RunState.DONE


def test_a_failure_of_a_run_that_is_forgotten_is_noted_nowhere(world: Redriver) -> None:
    before = world.snapshot()
    fail_again(world, "forgotten", 1)
    fail_again(world, "", 1)
    assert world.snapshot() == before


def test_the_rate_is_kept_for_what_is_run_again_and_for_nothing_else(world: Redriver) -> None:
    world.dead_letter("tasks", 90)
    world.dead_letter("tasks", 80, task=names.CHECK_POOLS)
    world.dead_letter("tasks", 70)
    world.drive(world.start(rate=4))
    assert world.slept == [0.25, 0.0, 0.25]


def test_a_rate_of_zero_is_as_fast_as_it_goes(world: Redriver) -> None:
    world.dead_letter("tasks")
    world.drive(world.start(rate=0))
    assert world.slept == [0.0]


def test_a_run_shows_who_ordered_what(world: Redriver) -> None:
    world.dead_letter("tasks")
    run = world.start(rate=2.5, max_failed=30)
    found = job.read_run(world.db, run)
    assert (found.who, found.why, found.started) == ("anna@host", "fixed", NOW)
    assert (found.rate, found.max_failed_percent) == (2.5, 30)
    assert job.as_json(found) == {
        "run": run,
        "state": "running",
        "selected": 1,
        "position": 0,
        "redriven": 0,
        "obsolete": 0,
        "kept": 0,
        "gone": 0,
        "failed_again": 0,
        "who": "anna@host",
        "why": "fixed",
    }


def test_runs_are_shown_newest_first_and_for_a_week(world: Redriver) -> None:
    runs = []
    for _ in range(3):
        runs.append(world.start())
        world.now += KEPT_SECONDS / 2 + 1
    assert [run.id for run in redrives.newest_first(world.db)] == runs[:0:-1]
    assert 0 < world.client.ttl(f"vmpooler_tasks__redrive__{runs[-1]}") <= KEPT_SECONDS


def test_the_dead_letters_of_a_run_are_let_go_with_it(world: Redriver) -> None:
    world.dead_letter("tasks")
    run = world.start()
    dead_letters = f"vmpooler_tasks__redrive__{run}__dead_letters"
    assert 0 < world.client.ttl(dead_letters) <= KEPT_SECONDS
    world.drive(run)
    assert not world.client.exists(dead_letters)


def test_thousands_of_dead_letters_are_frozen_in_order(world: Redriver) -> None:
    world.client.zadd("vmpooler__dlq__tasks", {f"letter-{number}": number for number in range(1201)})
    run = world.start()
    assert job.read_run(world.db, run).total == 1201
    assert [one.raw for one in frozen(world, run)] == [b"letter-%d" % number for number in range(1201)]


def test_dead_letters_are_frozen_and_read_by_their_size(world: Redriver) -> None:
    large = b"x" * (redrives.MAX_PAGE_BYTES // 2)
    sizes = {b"%d %b" % (number, large[: len(large) // (1 + number % 3)]): number for number in range(12)}
    whole = {b"12 " + 3 * large: 12, b"13 " + 2 * large: 13, b"14": 14}
    world.client.zadd("vmpooler__dlq__tasks", {**sizes, **whole})
    run = world.start()
    assert [one.raw for one in frozen(world, run)] == [*sizes, *whole]


def frozen(world: Redriver, run: str) -> list[StoredDeadLetter]:
    """Return the copies that a run has, page by page."""
    found: list[StoredDeadLetter] = []
    while page := redrives.read_page(world.db, run, len(found)):
        assert len(page) == 1 or sum(len(one.raw) for one in page) <= redrives.MAX_PAGE_BYTES
        found += page
    return found


@pytest.mark.parametrize("spoilt", [{}, {"state": "odd"}, {"state": ""}])
def test_what_is_no_run_is_none(world: Redriver, spoilt: dict[str, str]) -> None:
    if spoilt:
        world.client.hset("vmpooler_tasks__redrive__x", mapping=spoilt)
    assert redrives.read(world.db, "x") is None


def test_a_run_whose_dead_letters_are_lost_comes_to_an_end(world: Redriver) -> None:
    world.dead_letter("tasks")
    run = world.start()
    world.client.delete(f"vmpooler_tasks__redrive__{run}__dead_letters")
    last = world.drive(run)
    assert (last.state, last.counts["gone"]) == (RunState.DONE, 1)
    assert len(world.left()) == 1


def test_an_unreachable_broker_changes_neither_dead_letter_nor_run(world: Redriver) -> None:
    world.dead_letter("tasks")
    run = world.start()
    world.broker_url = "redis://127.0.0.1:1/0"
    with pytest.raises(StoreUnavailableError), world.stack:
        world.drive(run)
    assert len(world.left()) == 1
    world.broker_url, world.stack = None, ExitStack()
    with world.stack:
        assert world.drive(run).counts["redriven"] == 1


def test_what_happens_is_told_line_by_line(world: Redriver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "vmpooler_tasks.redrive")
    first = world.dead_letter("tasks", task="a\nb")
    second = world.dead_letter("clone", 30, vm="v\x1b[2J", pool="retired")
    run = world.start()
    world.drive(run)
    assert caplog.messages[:3] == [
        f"[*] [redrive] Run {run} of 2 dead letters, ordered by anna@host",
        f"[*] [redrive] {first} of a\\nb: redriven",
        f"[*] [redrive] {second} of v\\x1b[2J: obsolete",
    ]
    assert caplog.messages[3].startswith(f"[*] [redrive] Run {run} is done: ")
