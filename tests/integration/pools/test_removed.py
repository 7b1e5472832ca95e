"""A pool that left the configuration is drained after its grace, as far as the guards allow."""

import json

import pytest

from tests.support.pool_world import HOUR, PoolWorld, pool
from tests.support.removed_pools import OTHER, leave, let_be_removed_for, lives, lives_here, removed
from tests.support.world import POOL
from vmpooler_tasks.errors import InvalidInputError, TransientProviderError
from vmpooler_tasks.jobs.inspection import roster
from vmpooler_tasks.jobs.pools.control import Operator, PoolControl
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.pools.pause import PoolAction
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.guards.brakes import read_brakes
from vmpooler_tasks.store.guards.managed_pools import read_managed_names
from vmpooler_tasks.store.guards.removed_pools import read_states

GRACE = 3600.0


@pytest.fixture(autouse=True)
def other_pool(world: PoolWorld) -> None:
    """A second pool, which the tests let leave the configuration."""
    world.config = {"task_limit": 0}
    world.pools = [pool(), pool(OTHER, size=20, folder="vms/other")]
    lives_here(world)


def ready_vms(world: PoolWorld, count: int) -> set[str]:
    return {world.ready_vm(f"ready-{number}", name=OTHER) for number in range(count)}


def drain(world: PoolWorld, rounds: int = 1) -> list[str]:
    """Inspect the removed pool so often, and do all the work. Return the results."""
    results = []
    for _ in range(rounds):
        results += world.deliver_all(world.inspect(OTHER).work)
    return results


def test_nothing_is_drained_before_the_grace(world: PoolWorld) -> None:
    ready_vms(world, 3)
    world.running_vm("old", 72 * HOUR, OTHER)
    world.completed_vm("completed", OTHER)
    leave(world, seconds=GRACE - 60)
    assert drain(world) == []
    assert len(world.provider.machines) == 5


def test_after_the_grace_a_part_is_drained_at_each_inspection(world: PoolWorld) -> None:
    ready_vms(world, 20)
    leave(world, seconds=GRACE)
    left = []
    for _ in range(4):
        drain(world)
        left.append(len(world.names_in(Queue.READY, OTHER)))
    assert left == [15, 12, 9, 7]
    drain(world, 6)
    assert world.provider.machines == {}
    assert world.provider.specs["destroy"].options["folder"] == "vms/other"
    roster.update(world.context)
    assert removed(world) == set()
    assert read_managed_names(world.db) == {POOL}


def test_running_vms_end_with_their_own_lifetime(world: PoolWorld) -> None:
    world.running_vm("three-days", 72 * HOUR, OTHER)
    world.running_vm("young", 2 * HOUR, OTHER)
    world.running_vm("longer", 72 * HOUR, OTHER, lifetime="100")
    world.running_vm("shorter", 3 * HOUR, OTHER, lifetime="2")
    leave(world, seconds=GRACE)
    drain(world, 3)
    assert world.names_in(Queue.RUNNING, OTHER) == {"young", "longer"}
    assert set(world.provider.machines) == {"young", "longer"}
    world.now += 23 * HOUR
    drain(world, 2)
    assert set(world.provider.machines) == {"longer"}


def test_a_running_vm_that_its_provider_lost_is_removed(world: PoolWorld) -> None:
    world.running_vm("lost", HOUR, OTHER)
    leave(world, seconds=GRACE)
    world.provider.destroy_vm(world.context.spec(world.context.pool(OTHER)), "lost")
    drain(world, 2)
    assert world.queues_of("lost") == []


@pytest.mark.parametrize("has", ["a live worker", "an unknown list", "no heartbeats"])
def test_what_a_live_process_may_have_is_not_drained(world: PoolWorld, has: str) -> None:
    vms = ready_vms(world, 3)
    leave(world, seconds=GRACE)
    match has:
        case "a live worker":
            lives(world, "w@there", "theirs", [OTHER], manages_pools=False)
            world.client.hset(keys.REMOVED_POOLS, OTHER, f"{0} {0}")  # as a late tick of another worker would
        case "an unknown list":
            lives(world, "w@there", "theirs", ["third"])
            world.client.delete(fleet_keys.pool_list("theirs"))
        case _:
            world.client.delete(fleet_keys.HEARTBEATS)
    assert drain(world) == []
    assert world.names_in(Queue.READY, OTHER) == vms


def test_a_second_host_with_an_older_file_drains_nothing(world: PoolWorld) -> None:
    vms = ready_vms(world, 3)
    for one in world.pools:
        world.inspect(one.name)
    lives(world, "w@there", "theirs", [POOL, OTHER])
    world.pools = [pool()]
    lives(world, "w@here", world.settings.digest(), [POOL])
    for _ in range(3):
        roster.update(world.context)
        with pytest.raises(InvalidInputError):
            world.inspect(OTHER)
    assert world.names_in(Queue.READY, OTHER) == vms
    assert removed(world) == set()


def test_a_pool_that_returns_in_the_middle_keeps_the_rest(world: PoolWorld) -> None:
    ready_vms(world, 20)
    leave(world, seconds=GRACE)
    drain(world)
    world.config = {}
    world.pools = [pool(size=0), pool(OTHER, size=20)]
    lives_here(world)
    assert len(world.due(Step.CLONE, OTHER)) == 5
    assert len(world.names_in(Queue.READY, OTHER)) == 15
    assert removed(world) == set()


def test_after_a_rename_the_queues_of_the_old_name_are_drained(world: PoolWorld) -> None:
    """Both names share a folder: the provider lists the VMs of both for each."""
    vms = ready_vms(world, 2)
    for one in world.pools:
        world.inspect(one.name)
    world.pools = [pool(), pool("renamed", size=2, folder="vms/other")]
    for vm in vms:
        world.provider.pool_of[vm] = "renamed"
    lives_here(world)
    roster.update(world.context)
    let_be_removed_for(world, OTHER, GRACE - 60)
    for _ in range(3):
        world.now += 30
        world.deliver_all(world.inspect("renamed").work)
    assert world.names_in(Queue.READY, OTHER) == vms
    let_be_removed_for(world, OTHER, 60)
    drain(world)
    assert world.provider.machines == {}


def test_clones_that_no_worker_has_started_are_taken_back_at_once(world: PoolWorld) -> None:
    world.config = {}
    world.pools = [pool(), pool(OTHER, size=2)]
    leave(world)
    assert world.slots() == 4
    drain(world)
    assert world.names_in(Queue.PENDING, OTHER) == set()
    assert world.slots() == 2


@pytest.mark.parametrize("provider", ["gone", ""])
def test_without_its_provider_nothing_is_drained_and_the_reason_is_named(world: PoolWorld, provider: str) -> None:
    ready_vms(world, 3)
    leave(world, seconds=GRACE)
    record = json.loads(world.client.hget(keys.MANAGED_POOLS, OTHER))
    world.client.hset(keys.MANAGED_POOLS, OTHER, json.dumps({**record, "provider": provider}))
    assert drain(world) == []
    [state] = read_states(world.db, [OTHER])
    assert "not drained: its provider" in state.fate(world.settings.drain_rules)


def test_nothing_is_drained_while_the_provider_fails(world: PoolWorld) -> None:
    ready_vms(world, 3)
    leave(world, seconds=GRACE)
    world.provider.raises("list", TransientProviderError("down"), always=True)
    assert world.inspect(OTHER).error is not None
    assert world.names_in(Queue.COMPLETED, OTHER) == set()


def test_the_brake_holds_the_drain_until_its_cause_is_gone(world: PoolWorld) -> None:
    """Half of its VMs are missing from the inventory: the provider may be wrong."""
    vms = ready_vms(world, 8)
    world.running_vm("expired", 72 * HOUR, OTHER)
    leave(world, seconds=GRACE)
    world.provider.hidden = set(sorted(vms)[:4])
    assert drain(world, 2) == []
    assert read_brakes(world.db)[OTHER].is_engaged
    assert world.names_in(Queue.READY, OTHER) == vms
    world.provider.hidden = set()
    drain(world, 12)
    assert world.provider.machines == {}
    roster.update(world.context)
    assert OTHER not in read_brakes(world.db)


def test_keep_stops_the_drain_and_resume_continues_it(world: PoolWorld) -> None:
    ready_vms(world, 3)
    leave(world, seconds=GRACE)
    control = PoolControl(world.db, world.settings, world.clock, Operator(who="olga@host", why="a user needs them"))
    assert control.find([OTHER]) == [OTHER]
    report = control.keep(OTHER)
    assert (report.action, report.changed, report.text) == (PoolAction.KEEP, True, "kept: its VMs stay (3 ready)")
    assert not control.keep(OTHER).changed
    assert drain(world) == []
    assert control.resume(OTHER).changed
    drain(world)
    assert len(world.names_in(Queue.READY, OTHER)) == 1
    entries = [entry.fields["action"] for entry in audit.read_newest(world.db, 10)]
    assert entries == ["resume", "keep"]


def test_an_entry_that_no_longer_is_valid_is_read_as_far_as_it_goes(world: PoolWorld) -> None:
    ready_vms(world, 1)
    leave(world, seconds=GRACE)
    record = json.loads(world.client.hget(keys.MANAGED_POOLS, OTHER))
    world.client.hset(keys.MANAGED_POOLS, OTHER, json.dumps({**record, "entry": {"size": "many", "timeout": -1}}))
    drain(world)
    assert world.provider.machines == {}
