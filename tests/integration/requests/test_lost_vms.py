"""A VM that dies after its delivery to an open request is replaced: no request becomes ready with a dead VM."""

from collections.abc import Callable

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.pool_world import HOUR, PoolWorld
from tests.support.request_world import DELIVERED, HASH, ID, ITEMS, delivered, members, run, status, submit
from tests.support.world import POOL
from vmpooler_tasks.jobs.pools import check_running, destroy
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.purge import cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys

pytestmark = pytest.mark.both_servers

ONE_MORE = f"centos:{POOL}:1:{ID}"


def one_delivered(world: PoolWorld, wanted: int = 2) -> tuple[str, list[Work]]:
    """Return the first VM of an open request, which is delivered, and the clones of the others."""
    submit(world, f"centos:{POOL}:{wanted}")
    first, *others = run(world)
    assert world.deliver(first) == "delivered"
    assert status(world) == (None, None)
    return first.vm, others


def vanish(world: PoolWorld, vm: str) -> None:
    world.provider.machines.pop(vm)
    world.provider.pool_of.pop(vm)


def finish(world: PoolWorld, gone: str, others: list[Work]) -> None:
    """Deliver the rest, and see that the request is ready with living VMs alone, as many as it asks for."""
    for _ in range(4):
        world.deliver_all(others)
        others = run(world)
        world.round()
    assert status(world) == ("ready", None)
    assert gone not in delivered(world)
    assert len(delivered(world)) == 2
    assert delivered(world) == world.names_in(Queue.RUNNING) == set(world.provider.machines)
    assert members(world, ITEMS) == {}


def test_the_check_that_completes_it_replaces_it_in_the_same_step(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    vm, others = one_delivered(world)
    vanish(world, vm)
    assert check_running.check(world.context, vm, POOL) == "completed"
    assert delivered(world) == set()
    assert members(world, ITEMS) == {ONE_MORE: 1}
    assert "gone after its delivery to a request that is not filled yet" in caplog.text
    assert check_running.check(world.context, vm, POOL) == "left_queue"
    assert members(world, ITEMS) == {ONE_MORE: 1}, "a second delivery of the task queues nothing"
    finish(world, vm, others)


def test_a_vm_past_its_lifetime_is_replaced(world: PoolWorld) -> None:
    world.config = {"ondemand_request_ttl": 10_000, "vm_lifetime": 1}
    vm, others = one_delivered(world)
    world.now += 2 * HOUR
    assert check_running.check(world.context, vm, POOL) == "completed"
    assert members(world, ITEMS) == {ONE_MORE: 1}
    finish(world, vm, others)


def test_the_destruction_replaces_what_the_user_deleted_through_the_api(world: PoolWorld) -> None:
    vm, others = one_delivered(world)
    assert ApiClient(world.client, [ApiPool(POOL)], clock=world.clock).delete_vm(vm).ok
    assert delivered(world) == {vm}, "the API leaves it there"
    assert destroy.run(world.context, vm, POOL, "task-1") == "destroyed"
    assert delivered(world) == set()
    assert members(world, ITEMS) == {ONE_MORE: 1}
    finish(world, vm, others)


def by_the_api(world: PoolWorld, vm: str) -> None:
    assert ApiClient(world.client, [ApiPool(POOL)], clock=world.clock).delete_vm(vm).ok


def by_a_purge(world: PoolWorld, vm: str) -> None:
    """It was completed, and left completed without a destruction."""
    world.client.smove(keys.queue(Queue.RUNNING, POOL), keys.queue(Queue.COMPLETED, POOL), vm)
    world.client.hset(keys.vm(vm.encode()), "destroy", world.stamp(48 * HOUR))
    world.config = {"purge_enabled": True}
    cycle.run(world.db, world.settings, world.clock, PurgeOptions(who="test"))
    assert world.names_in(Queue.COMPLETED) == set()
    world.config = {}
    vanish(world, vm)


def by_a_person(world: PoolWorld, vm: str) -> None:
    world.client.srem(keys.queue(Queue.RUNNING, POOL), vm)
    world.client.delete(keys.vm(vm.encode()))
    vanish(world, vm)


@pytest.mark.parametrize("act", [by_the_api, by_a_purge, by_a_person])
def test_a_vm_that_left_running_in_any_way_is_replaced_by_the_next_tick(
    world: PoolWorld, act: Callable[[PoolWorld, str], None]
) -> None:
    vm, others = one_delivered(world)
    act(world, vm)
    work = run(world)
    assert delivered(world) == set()
    assert len(work) + sum(int(item.split(":")[2]) for item in members(world, ITEMS)) == 1
    finish(world, vm, [*others, *work])


def test_the_last_vm_does_not_make_a_request_ready_whose_first_one_was_just_deleted(world: PoolWorld) -> None:
    vm, [last] = one_delivered(world)
    by_the_api(world, vm)
    assert world.deliver(last) == "delivered"
    assert status(world) == (None, None)
    finish(world, vm, [])


def test_a_request_that_is_ready_keeps_the_names_of_its_vms(world: PoolWorld) -> None:
    vm, [last] = one_delivered(world)
    world.deliver(last)
    assert status(world) == ("ready", None)
    by_the_api(world, vm)
    world.round()
    assert delivered(world) == {vm, last.vm}
    assert members(world, ITEMS) == {}


@pytest.mark.parametrize("final_status", ["failed", "deleted"])
def test_a_closed_request_gets_no_other_vm(world: PoolWorld, final_status: str) -> None:
    vm, _ = one_delivered(world)
    world.client.hset(HASH, "status", final_status)
    vanish(world, vm)
    assert check_running.check(world.context, vm, POOL) == "completed"
    assert destroy.run(world.context, vm, POOL, "task-1") == "destroyed"
    assert members(world, ITEMS) == {}


def test_a_vm_of_the_pool_itself_needs_no_request(world: PoolWorld) -> None:
    world.running_vm("pooler-a")
    vanish(world, "pooler-a")
    assert check_running.check(world.context, "pooler-a", POOL) == "completed"
    assert members(world, ITEMS) == {}


@pytest.mark.parametrize("key", [HASH, DELIVERED, "the metadata"])
def test_a_key_of_the_wrong_type_does_not_keep_a_vm(world: PoolWorld, key: str) -> None:
    vm, _ = one_delivered(world)
    world.client.set(keys.vm(vm.encode()) if key == "the metadata" else key, "x")
    vanish(world, vm)
    assert check_running.check(world.context, vm, POOL) == "completed"
    assert world.names_in(Queue.COMPLETED) == {vm}


def test_a_name_that_is_not_utf_8_names_no_request(world: PoolWorld) -> None:
    world.running_vm("pooler-a", request_id=b"\xff", pool_alias=b"\xff")
    vanish(world, "pooler-a")
    assert check_running.check(world.context, "pooler-a", POOL) == "completed"


def test_two_that_die_at_once_are_both_replaced(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:3")
    first, second, third = run(world)
    for work in (first, second):
        world.deliver(work)
        vanish(world, work.vm)
    for work in (first, second):
        assert check_running.check(world.context, work.vm, POOL) == "completed"
    again = run(world)
    assert len(again) == 2
    world.deliver_all([third, *again])
    assert status(world) == ("ready", None)
    assert delivered(world) == {third.vm, *(work.vm for work in again)}
