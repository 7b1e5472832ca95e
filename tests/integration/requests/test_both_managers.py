"""Requests that one manager starts to fill and the other one finishes: VMPooler's own and these workers."""

import pytest

from tests.support.pool_world import PoolWorld
from tests.support.request_world import ID, ITEMS, OTHER, PROCESSING, delivered, members, run, status, submit
from tests.support.vmpooler_manager import ManagedPool, VmpoolerManager
from tests.support.world import POOL
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.store.pools import pauses

pytestmark = pytest.mark.both_servers


def theirs(world: PoolWorld) -> VmpoolerManager:
    """Return VMPooler's manager, started."""
    manager = VmpoolerManager(
        world.client,
        world.provider,
        [ManagedPool(one.name, one.size, one.template) for one in world.pools],
        world.clock,
    )
    manager.start()
    return manager


def pause(world: PoolWorld, name: str) -> None:
    order = Pause(state=PauseState.PAUSED, since=world.now, who="olga", why="going back")
    pauses.pause(world.db, name, order, {"action": "pause", "who": "olga", "pool": name})


def is_filled(world: PoolWorld, count: int = 3) -> bool:
    running = world.names_in(Queue.RUNNING)
    return status(world)[0] == "ready" and len(delivered(world)) == count and delivered(world) == running


def test_after_a_pause_vmpoolers_manager_fills_what_was_not_started_here(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:3")
    first, *not_started = run(world)
    assert world.deliver(first) == "delivered"
    assert len(not_started) == 2
    pause(world, POOL)
    world.inspect()
    assert world.names_in(Queue.PENDING) == set()
    assert sum(int(item.split(":")[2]) for item in members(world, ITEMS)) == 2
    manager = theirs(world)
    for _ in range(3):
        manager.round()
        world.now += 5
    assert is_filled(world)


def test_without_a_pause_the_request_stays_open_until_its_time_is_over(world: PoolWorld) -> None:
    """This is why docs/upgrading-from-vmpooler.md pauses the pools first: nobody makes the VMs that are in pending."""
    submit(world, f"centos:{POOL}:3")
    assert len(run(world)) == 3
    manager = theirs(world)
    for _ in range(30):
        manager.round()
        world.now += 10
    assert status(world) == (None, None)
    world.now += 10
    manager.round()
    assert status(world)[0] == "failed"


def test_what_vmpooler_started_and_did_not_finish_is_filled_here_exactly(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:3")
    manager = theirs(world)
    item = f"centos:{POOL}:3:{ID}"
    manager.process_ondemand_requests()
    assert len(world.names_in(Queue.PENDING)) == 3
    world.client.zadd(ITEMS, {item: int(world.now)})  # it was killed before it removed the item
    assert run(world) == []
    manager.end_clones()  # its provider had started them
    for _ in range(3):
        world.round()
        world.now += 5
    assert is_filled(world)
    assert members(world, ITEMS) == members(world, PROCESSING) == {}
    assert len(world.provider.machines) == 3


def test_what_is_delivered_here_is_never_more_than_vmpooler_closes(world: PoolWorld) -> None:
    """VMPooler's manager closes a request only if the number is equal: one VM more, and it stays open."""
    submit(world, f"centos:{POOL}:2")
    work = run(world)
    for number in range(3):
        world.pending_vm(f"pooler-spare-{number}", 5, request_id=ID, pool_alias="centos")
    for _ in range(3):
        world.round()
    world.deliver_all(work)
    assert status(world)[0] == "ready"
    assert len(delivered(world)) == 2
    world.client.hdel(f"vmpooler__odrequest__{ID}", "status")
    world.client.zadd(PROCESSING, {ID: int(world.now)})
    theirs(world).process_ondemand_requests()
    assert status(world)[0] == "ready"


def test_other_pools_are_not_touched(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1,ubuntu:{OTHER}:1")
    [one, _] = run(world)
    world.deliver(one)
    pause(world, OTHER)
    world.inspect(OTHER)
    manager = theirs(world)
    for _ in range(2):
        manager.round()
    assert status(world)[0] == "ready"
