"""The name of a new VM may be taken by an existing VM, which must not be mistaken for the new one."""

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.pools import breakers


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=1)], config={"breaker_failures": 1})


def deliver(world: PoolWorld, vm: str) -> str:
    return world.deliver(Work(Step.CLONE, vm, POOL))


def test_an_existing_vm_of_that_name_is_not_taken_for_the_new_one(world: PoolWorld) -> None:
    [vm] = world.clones()
    world.provider.has(vm)
    assert deliver(world, vm) == "NameTakenError"
    [dead_letter] = world.dead_letters("clone")
    assert dead_letter["error_message"] == "another VM has this name"
    assert world.queues_of(vm) == []


def test_another_is_made_under_another_name(world: PoolWorld) -> None:
    world.config["breaker_failures"] = 2
    [vm] = world.clones()
    world.provider.has(vm)
    deliver(world, vm)
    [another] = world.clones()
    assert another != vm
    assert deliver(world, another) == "ready"


def test_a_taken_name_is_no_fault_of_the_pools_configuration(world: PoolWorld) -> None:
    [vm] = world.clones()
    world.provider.has(vm)
    deliver(world, vm)
    assert breakers.suspended_pools(world.db, [POOL]) == []


def test_a_vm_that_a_dead_worker_made_is_the_new_one(world: PoolWorld) -> None:
    [vm] = world.clones()
    world.client.hset(f"vmpooler_tasks__work__{vm}", mapping={"attempts": 1})  # it had taken the clone on
    world.provider.has(vm)
    assert deliver(world, vm) == "ready"
    assert world.dead_letters("clone") == []


def test_a_vm_whose_clone_got_no_reply_is_the_new_one(world: PoolWorld) -> None:
    [vm] = world.clones()
    world.provider.raises("create", TransientProviderError("the reply was lost"))
    world.provider.before("create", world.provider.has)
    assert deliver(world, vm) == "ready"
    assert world.queues_of(vm) == [Queue.READY]
