"""Where a dead letter comes from: how often it was run again, for how often it failed, until it is left alone."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.pool_world import pool
from tests.support.redriver import ALIAS, REQUEST, Redriver
from tests.support.servers import TestServer
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.jobs.deadletters.query import detail
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.redrive import RunState
from vmpooler_tasks.model.requests import Wanted
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.redrive import runs

pytestmark = pytest.mark.both_servers

BROKEN = PermanentProviderError("template not found")


@pytest.fixture
def world(db: Database, server: TestServer) -> Iterator[Redriver]:
    with ExitStack() as stack:
        yield Redriver(db, url=server.url, stack=stack, pools=[pool(size=1)])


def deliver(world: Redriver) -> list[str]:
    """What the workers make of the clones that wait; a failed one is reported by the hook."""
    outcomes = []
    for number, sent in enumerate(world.messages()):
        vm, request_id = sent.kwargs["vm"], sent.kwargs.get("request_id")
        try:
            outcomes.append(world.clone(vm, f"task-{number}", request_id=request_id))
        except Exception as error:  # noqa: BLE001 - as the hook does it
            world.fail(vm, error, f"task-{number}")
            outcomes.append(type(error).__name__)
    world.client.delete("vmpooler.clone")
    return outcomes


def only_dead_letter(world: Redriver) -> Any:
    [dead_letter] = world.found(DeadLetterQueue.CLONE)
    return dead_letter


def test_a_clone_that_fails_again_and_again_counts_up_until_it_is_poison(world: Redriver) -> None:
    world.provider.raises("create", BROKEN, always=True)
    [vm] = world.clones()
    world.fail(vm, BROKEN)
    dead_letter = only_dead_letter(world)
    assert "redrives" not in dead_letter.fields
    for times in (1, 2, 3):
        world.now += 60
        run = world.start()
        world.drive(run)
        assert deliver(world) == ["PermanentProviderError"]
        former, dead_letter = dead_letter, only_dead_letter(world)
        assert dead_letter.id != former.id
        assert (dead_letter.fields["redrives"], dead_letter.fields["retry_count"]) == (times, times)
        assert dead_letter.fields["redrive_of"] == former.id, "of the dead letter that it came of"
        assert job.read_run(world.db, run).counts["failed_again"] == 1
    shown = detail(dead_letter)
    assert [one.get("run") is not None for one in shown["attempts"]] == [True, True, True, False]
    assert [one.get("who") for one in shown["attempts"]] == ["anna@host"] * 3 + [None]
    assert {one["error_message"] for one in shown["attempts"]} == {"template not found"}
    assert sorted(one["failed_at"] for one in shown["attempts"]) == [one["failed_at"] for one in shown["attempts"]]
    assert (shown["attempts"][-1]["id"], shown["attempts_unknown"]) == (dead_letter.id, 0)
    assert Selection(wanted=DeadLetterFilter()).is_empty(world.db)
    assert world.redrive(dead_letter.id) == {"redriven": 1}
    deliver(world)
    assert only_dead_letter(world).fields["redrives"] == 4
    assert world.preview().poisoned == 1


def test_a_clone_that_succeeds_leaves_no_trace_of_its_origin(world: Redriver) -> None:
    world.dead_letter()
    world.redrive()
    assert deliver(world) == ["ready"]
    [vm] = world.names_in(Queue.READY)
    assert runs.read_lineages(world.db, [vm]) == [None]
    assert world.left() == set()


def test_a_redriven_vm_that_is_not_ready_in_time_knows_its_lineage(world: Redriver) -> None:
    origin = world.dead_letter(retry_count=4)
    world.redrive()
    world.provider.default_readiness = Readiness(False, "connection refused")
    assert deliver(world) == ["pending"]
    world.now += 16 * 60
    world.round()
    [dead_letter] = world.found(DeadLetterQueue.PENDING)
    assert (dead_letter.fields["redrive_of"], dead_letter.fields["redrives"], dead_letter.fields["retry_count"]) == (
        origin,
        1,
        5,
    )


def test_a_clone_whose_worker_died_still_knows_where_it_comes_from(world: Redriver) -> None:
    origin = world.dead_letter()
    world.redrive()
    [vm] = world.names_in(Queue.PENDING)
    world.provider.raises("create", TransientProviderError("killed"), always=True)
    with pytest.raises(TransientProviderError):
        world.clone(vm)
    world.now += 61
    assert [work.vm for work in world.reap()] == [vm]
    with pytest.raises(TransientProviderError):
        world.clone(vm, "task-2")
    world.fail(vm, TransientProviderError("killed"), "task-2")
    assert only_dead_letter(world).fields["redrive_of"] == origin


def test_the_same_failure_reported_twice_is_noted_once(world: Redriver) -> None:
    world.dead_letter()
    run = world.start()
    world.drive(run)
    [vm] = world.names_in(Queue.PENDING)
    assert [world.fail(vm, BROKEN), world.fail(vm, BROKEN)] == [True, False]
    assert job.read_run(world.db, run).counts["failed_again"] == 1


def test_a_clone_of_a_request_counts_redrives_and_not_the_requests_retries(world: Redriver) -> None:
    world.create_request(Wanted(ALIAS, "centos-7-x86_64", 1))
    world.client.hset(keys.request(REQUEST.encode()), "retry_count", 2)
    world.config["max_vm_retries"] = 0
    origin = world.request_dead_letter(retry_count=2)
    world.redrive()
    world.provider.raises("create", BROKEN)
    assert deliver(world) == ["PermanentProviderError"]
    dead_letter = only_dead_letter(world)
    assert (dead_letter.fields["request_id"], dead_letter.fields["pool_alias"]) == (REQUEST, ALIAS)
    assert (dead_letter.fields["redrives"], dead_letter.fields["retry_count"], dead_letter.fields["redrive_of"]) == (
        1,
        3,
        origin,
    )
    assert world.redrive() == {"obsolete": 1}, "the request has failed"


def test_a_run_stops_by_itself_when_its_clones_fail(world: Redriver) -> None:
    world.pools = [pool(size=30)]
    world.config |= {"task_limit": 100, "breaker_failures": 1000}
    world.provider.raises("create", BROKEN, always=True)
    for number in range(30):
        world.dead_letter(age=number)
    run = world.start(max_failed=50)
    for _ in world.steps(run):
        deliver(world)
    last = job.read_run(world.db, run)
    assert last.state is RunState.STOPPED
    assert last.counts["redriven"] < 15
    assert last.counts["failed_again"] == last.counts["redriven"]
    assert len(world.left()) == 30, "those that failed again and those that were never tried"
