"""The dead letter of a pool's VM: run again if its pool is short, otherwise closed."""

import logging

import pytest

from tests.support.cycles import counters
from tests.support.fleet import record_processes, worker
from tests.support.manager_watch import forget_watch, see_other_manager
from tests.support.redriver import Redriver
from tests.support.world import NOW, POOL
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.model.redrive import RunState
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.fleet import pool_lists
from vmpooler_tasks.store.keys import POOL_SLOTS
from vmpooler_tasks.store.pools import pauses
from vmpooler_tasks.store.redrive import runs

pytestmark = pytest.mark.both_servers


@pytest.mark.parametrize("queue", ["clone", "pending", "ready"])
@pytest.mark.parametrize("old_form", [False, True])
def test_a_vm_is_begun_in_place_of_a_failed_one_if_its_pool_is_short(
    world: Redriver, queue: str, old_form: bool
) -> None:
    origin = world.dead_letter(queue, old_form=old_form, retry_count=1)
    assert world.redrive() == {"redriven": 1}
    assert world.left() == set()
    [vm] = world.names_in(Queue.PENDING)
    assert vm.startswith("pooler-")
    assert world.metadata(vm) == {
        "clone": world.stamp(0),
        "template": POOL,
        "pool": POOL,
        "domain": "example.com",
    }
    assert world.slots() == 1
    assert world.client.zscore(POOL_SLOTS.key, vm) == NOW + 300, "a queue may be long"
    [sent] = world.messages()
    assert (sent.task, sent.args, sent.kwargs) == ("vmpooler_tasks.clone_vm", [], {"vm": vm, "pool": POOL})
    [lineage] = runs.read_lineages(world.db, [vm])
    assert lineage is not None
    assert (lineage.dead_letter_id, lineage.redrives, lineage.retry_count) == (origin, 1, 2)
    assert counters(world) == {f"dead_letters_redriven:{queue}": 1}


def test_a_vm_of_a_pool_that_only_other_workers_have_is_kept(world: Redriver) -> None:
    """Workers of different configurations share one Redis for a while."""
    world.dead_letter(pool="theirs")
    record_processes(world.db, worker("w@there", configuration="theirs"))
    pool_lists.publish(world.db, "theirs", ["theirs"])
    assert world.redrive() == {"kept": 1}
    assert len(world.left()) == 1
    record_processes(world.db, worker("w@there", configuration="theirs", stopped=True))
    assert world.redrive() == {"obsolete": 1}


def test_what_was_begun_is_made_as_any_other_clone(world: Redriver) -> None:
    world.dead_letter()
    world.redrive()
    [sent] = world.messages()
    assert world.clone(**sent.kwargs) == "ready"
    assert world.names_in(Queue.READY) == {sent.kwargs["vm"]}
    assert not world.client.exists(keys.work(sent.kwargs["vm"].encode()))


def test_a_vm_that_never_reached_a_worker_is_handed_out_again(world: Redriver) -> None:
    world.dead_letter()
    world.redrive()
    world.client.delete("vmpooler.clone")
    world.now += 301
    assert [work.vm for work in world.reap()] == list(world.names_in(Queue.PENDING))


def test_as_many_start_as_the_pool_lacks_and_the_rest_is_closed(world: Redriver) -> None:
    world.ready_vm("pooler-ready")
    for number in range(3):
        world.dead_letter(age=number)
    assert world.redrive() == {"redriven": 1, "obsolete": 2}
    assert world.left() == set()
    assert len(world.messages()) == 1
    assert counters(world) == {"dead_letters_redriven:clone": 1, "dead_letters_obsolete:clone": 2}


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY])
def test_a_pool_that_is_full_makes_a_dead_letter_obsolete(world: Redriver, queue: Queue) -> None:
    world.vm(queue, "pooler-a", 0)
    world.vm(queue, "pooler-b", 0)
    world.dead_letter()
    before = world.snapshot_of_vmpooler()
    assert world.redrive() == {"obsolete": 1}
    assert {key for key, value in before.items() if world.snapshot_of_vmpooler().get(key) != value} == {
        b"vmpooler__dlq__clone"
    }
    assert world.messages() == []


def test_the_size_that_was_set_through_the_api_is_the_one_that_counts(world: Redriver) -> None:
    world.dead_letter()
    world.client.hset("vmpooler__config__poolsize", POOL, "0")
    assert world.redrive() == {"obsolete": 1}
    world.dead_letter()
    world.client.hset("vmpooler__config__poolsize", POOL, "1")
    assert world.redrive() == {"redriven": 1}


def test_a_pool_that_is_not_configured_any_more_makes_a_dead_letter_obsolete(world: Redriver) -> None:
    world.dead_letter(pool="retired")
    assert world.redrive() == {"obsolete": 1}
    assert world.left() == set()


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY, Queue.RUNNING])
def test_a_vm_that_lives_makes_its_dead_letter_obsolete(world: Redriver, queue: Queue) -> None:
    world.vm(queue, "pooler-alive", 0)
    world.dead_letter(vm="pooler-alive")
    assert world.redrive() == {"obsolete": 1}
    assert world.messages() == []


def test_a_vm_that_waits_for_its_destruction_does_not(world: Redriver) -> None:
    world.completed_vm("pooler-dead")
    world.dead_letter("pending", vm="pooler-dead")
    assert world.redrive() == {"redriven": 1}
    assert world.names_in(Queue.COMPLETED) == {"pooler-dead"}


def test_without_a_free_slot_a_run_waits_where_it_is_and_goes_on_later(world: Redriver) -> None:
    world.config["task_limit"] = 1
    first, second = world.dead_letter(age=60), world.dead_letter(age=30)
    steps = world.steps(world.start())
    assert next(steps).position == 1
    for _ in range(3):
        assert next(steps).position == 1
        assert world.left() == {second}
    assert world.slept == [0.0, 1.0, 1.0, 1.0], "a second each time"
    [sent] = world.messages()
    world.clone(**sent.kwargs)
    last = next(steps)
    assert (last.position, last.counts["redriven"]) == (2, 2)
    assert first not in world.left()
    assert next(steps).state is RunState.DONE


def test_a_dead_letter_of_a_pool_that_vmpooler_fills_is_kept(world: Redriver) -> None:
    world.config["manage_pools"] = False
    kept = world.dead_letter()
    assert world.expected_counts() == {"kept": 1}
    assert world.redrive() == {"kept": 1}
    assert world.left() == {kept}
    for vm in ("pooler-1", "pooler-2"):
        world.ready_vm(vm)
    assert world.expected_counts() == {"obsolete": 1}
    assert world.redrive() == {"obsolete": 1}
    assert world.left() == set()
    assert world.members(Queue.PENDING) == set()
    assert world.messages() == []


def test_a_dead_letter_is_kept_while_another_manager_fills_the_pool(world: Redriver) -> None:
    kept = world.dead_letter()
    see_other_manager(world.client)
    assert world.expected_counts() == {"kept": 1}
    assert [reason for _, reason in world.preview().reasons] == [
        "another pool manager is at work, and fills its pool itself"
    ]
    assert world.redrive() == {"kept": 1}
    assert (world.left(), world.names_in(Queue.PENDING), world.messages()) == ({kept}, set(), [])
    forget_watch(world.client)
    assert world.redrive() == {"redriven": 1}


def test_the_dead_letters_of_a_paused_pool_are_kept_with_the_reason(
    world: Redriver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    origin = world.dead_letter()
    given = Pause(state=PauseState.PAUSED, since=NOW, who="olga@host", why="new disks")
    pauses.pause(world.db, POOL, given, {"action": "pause"})
    why = f"{given.text(POOL)}; redrive it after `pools resume`"
    assert [reason for _, reason in world.preview().reasons] == [why]
    assert world.redrive() == {"kept": 1}
    assert f"kept: {why}" in "\n".join(caplog.messages)
    assert (world.left(), world.messages(), world.slots()) == ({origin}, [], 0)
    pauses.resume(world.db, POOL, {"action": "resume"})
    assert world.redrive() == {"redriven": 1}


def test_a_pause_between_a_redrive_and_its_clone_takes_the_clone_back(world: Redriver) -> None:
    world.dead_letter()
    world.redrive()
    [sent] = world.messages()
    given = Pause(state=PauseState.PAUSED, since=NOW, who="olga@host", why="")
    pauses.pause(world.db, POOL, given, {"action": "pause"})
    assert world.clone(**sent.kwargs) == "paused"
    assert (world.names_in(Queue.PENDING), world.slots()) == (set(), 0)
    pauses.resume(world.db, POOL, {"action": "resume"})
    assert len(world.clones()) == 2, "the pool makes the VM by itself"
