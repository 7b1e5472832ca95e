"""A provider may raise `VmNotFoundError` instead of returning that it has no such VM. Both mean the same."""

import pytest

from tests.support.pool_world import PoolWorld
from tests.support.world import POOL
from vmpooler_tasks.errors import VmNotFoundError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database

pytestmark = pytest.mark.both_servers

NOWHERE = VmNotFoundError("no such VM in the datacenter")


@pytest.fixture
def world(db: Database) -> PoolWorld:
    own = PoolWorld(db)
    for call in ("destroy", "find", "ready"):
        own.provider.raises(call, NOWHERE, always=True)
    return own


def deliver(world: PoolWorld, step: Step, vm: str) -> str:
    return world.deliver(Work(step, vm, POOL))


def test_a_vm_to_be_destroyed_that_is_nowhere_is_destroyed(world: PoolWorld) -> None:
    world.completed_vm("pooler-gone")
    assert deliver(world, Step.DESTROY, "pooler-gone") == "destroyed"
    assert world.queues_of("pooler-gone") == []


def test_a_running_vm_that_is_nowhere_is_completed(world: PoolWorld) -> None:
    world.running_vm("pooler-gone", 60)
    assert deliver(world, Step.CHECK_RUNNING, "pooler-gone") == "completed"
    assert world.queues_of("pooler-gone") == [Queue.COMPLETED]


def test_a_ready_vm_that_is_nowhere_has_failed(world: PoolWorld) -> None:
    world.ready_vm("pooler-gone", 60)
    assert deliver(world, Step.CHECK_READY, "pooler-gone") == "failed"
    [dead_letter] = world.dead_letters("ready")
    assert (dead_letter["error_class"], dead_letter["error_message"]) == (
        "VmNotFoundError",
        "no such VM in the datacenter",
    )


def test_a_pending_vm_that_is_nowhere_is_dropped_when_its_time_is_over(world: PoolWorld) -> None:
    world.pending_vm("pooler-gone", 16 * 60)
    assert deliver(world, Step.CHECK_PENDING, "pooler-gone") == "removed"
    assert world.queues_of("pooler-gone") == []
