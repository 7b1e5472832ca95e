"""Which pools count as configured, registered and removed: by the lists of all live processes."""

import pytest

from tests.support.fleet import let_pass
from tests.support.pool_world import PoolWorld, pool
from tests.support.removed_pools import OTHER, leave, let_be_removed_for, lives, lives_here, removed
from tests.support.world import POOL
from vmpooler_tasks.jobs.inspection import roster
from vmpooler_tasks.jobs.inspection.roster import RESTART_SECONDS
from vmpooler_tasks.model.fleet import ALIVE_SECONDS
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.guards import removed_pools
from vmpooler_tasks.store.guards.managed_pools import read_managed_names, read_managed_pool


@pytest.fixture(autouse=True)
def own_worker(world: PoolWorld) -> None:
    """The worker whose ticks the tests run."""
    lives_here(world)


def registered(world: PoolWorld) -> set[str]:
    return {name.decode() for name in world.client.smembers(keys.POOLS)}


def test_an_inspection_registers_its_pool_again(world: PoolWorld) -> None:
    world.pools = [pool(alias=["one", "two"], folder="vms")]
    world.inspect()
    assert registered(world) == {POOL}
    assert world.client.hget(keys.pool(POOL), "alias") == b"one,two"
    world.client.delete(keys.POOLS, keys.pool(POOL))
    world.inspect()
    assert registered(world) == {POOL}
    assert world.client.hget(keys.pool(POOL), "folder") == b"vms"
    world.pools = [pool()]
    world.inspect()
    assert world.client.hget(keys.pool(POOL), "alias") == b""
    assert not world.client.hexists(keys.pool(POOL), "folder")


def test_a_registration_of_the_wrong_type_stops_no_inspection(world: PoolWorld) -> None:
    world.client.set(keys.POOLS, "no set")
    assert len(world.clones()) == 2
    assert roster.update(world.context) == [POOL]


def test_a_pool_of_another_live_worker_is_inspected_and_stays_registered(world: PoolWorld) -> None:
    world.client.sadd(keys.POOLS, OTHER)
    lives(world, "w@there", "theirs", [OTHER])
    assert roster.update(world.context) == [POOL, OTHER]
    assert removed(world) == set()
    lives(world, "w@there", "theirs", [OTHER], manages_pools=False)
    assert roster.update(world.context) == [POOL], "nobody would take its inspection"
    assert removed(world) == set(), "it is configured all the same"
    lives(world, "w@there", "theirs", [OTHER], queues=["vmpooler.clone"])
    assert roster.update(world.context) == [POOL]


def test_a_pool_that_no_live_process_has_is_removed_at_once_and_its_registration_after_a_restart(
    world: PoolWorld,
) -> None:
    world.vm(Queue.RUNNING, "a-1", 0, OTHER)
    theirs = lives(world, "w@there", "theirs", [OTHER])
    world.client.sadd(keys.POOLS, OTHER)
    roster.update(world.context)
    let_pass(world.db, theirs, ALIVE_SECONDS + 1)
    assert roster.update(world.context) == [POOL, OTHER]
    assert removed(world) == {OTHER}
    roster.update(world.context)
    assert OTHER in registered(world), "its worker may only be restarting"
    let_be_removed_for(world, OTHER, RESTART_SECONDS)
    roster.update(world.context)
    assert OTHER not in registered(world)
    assert removed(world) == {OTHER}


@pytest.mark.parametrize("loss", ["their list", "all lists", "all heartbeats", "own heartbeat"])
def test_nothing_counts_as_removed_while_a_list_is_not_known(world: PoolWorld, loss: str) -> None:
    world.vm(Queue.RUNNING, "a-1", 0, OTHER)
    world.client.sadd(keys.POOLS, OTHER)
    lives(world, "w@there", "theirs", ["third"])
    match loss:
        case "their list":
            world.client.delete(fleet_keys.pool_list("theirs"))
        case "all lists":
            world.client.delete(fleet_keys.pool_list("theirs"), fleet_keys.pool_list(world.settings.digest()))
        case "all heartbeats":
            world.client.delete(fleet_keys.HEARTBEATS)
        case _:
            world.client.hdel(fleet_keys.HEARTBEATS, "worker:w@here")
    roster.update(world.context)
    assert removed(world) == set()
    assert OTHER in registered(world)


def test_thousands_of_pools_are_told_apart(world: PoolWorld) -> None:
    many = [f"pool-{number}" for number in range(5_000)]
    lives(world, "w@there", "theirs", many)
    world.client.sadd(keys.POOLS, *many, OTHER)
    world.vm(Queue.RUNNING, "a-1", 0, OTHER)
    roster.update(world.context)
    assert removed(world) == {OTHER}


def test_a_pool_that_returns_is_no_longer_removed_from_the_first_sign_of_its_worker(world: PoolWorld) -> None:
    world.pools = [pool(), pool(OTHER)]
    leave(world)
    assert removed(world) == {OTHER}
    lives(world, "w@there", "theirs", [OTHER])
    assert removed(world) == set()
    world.client.delete(fleet_keys.pool_list("theirs"), fleet_keys.HEARTBEATS)
    world.pools = [pool(), pool(OTHER)]
    leave(world)
    world.pools = [pool(), pool(OTHER)]
    world.inspect(OTHER)
    assert removed(world) == set()


def test_a_removed_pool_without_vms_is_forgotten(world: PoolWorld) -> None:
    world.pools = [pool(), pool(OTHER)]
    leave(world)
    for queue in Queue:
        world.client.delete(keys.queue(queue, OTHER))
    assert roster.update(world.context) == [POOL]
    assert removed(world) == set()
    assert read_managed_names(world.db) == {POOL}
    assert registered(world) == {POOL}


def test_a_pool_that_only_vmpooler_managed_is_recorded_by_its_registration(world: PoolWorld) -> None:
    world.client.sadd(keys.POOLS, OTHER)
    world.client.hset(keys.pool(OTHER), mapping={"name": OTHER, "template": "t", "folder": "vms", "size": "3"})
    world.vm(Queue.READY, "a-1", 0, OTHER)
    roster.update(world.context)
    let_be_removed_for(world, OTHER, RESTART_SECONDS)
    roster.update(world.context)
    record = read_managed_pool(world.db, OTHER)
    assert record
    assert (record.provider, record.template, record.entry["folder"]) == ("scripted", "t", "vms")
    assert world.context.pool(OTHER).template == "t"


def test_a_time_in_which_no_tick_ran_does_not_count(world: PoolWorld) -> None:
    world.vm(Queue.RUNNING, "a-1", 0, OTHER)
    world.pools = [pool(), pool(OTHER)]
    leave(world, seconds=0)
    since, seen = world.client.hget(keys.REMOVED_POOLS, OTHER).split()
    hour = 3600
    world.client.hset(keys.REMOVED_POOLS, OTHER, f"{float(since) - hour} {float(seen) - hour}")
    roster.update(world.context)
    assert removed_pools.read_removed(world.db)[OTHER].since == pytest.approx(float(since), abs=60)
