"""Ready VMs older than `ready_ttl` are replaced, and no pool is emptied by it."""

import logging
from typing import Any

import pytest

from tests.support.pool_world import MINUTE, RESET, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.pools import pauses
from vmpooler_tasks.store.pools.vms import recycle_expired

OLD = 60 * MINUTE + 1


def fill(world: PoolWorld, size: int, age: float = OLD, **entry: Any) -> list[str]:
    world.pools = [pool(size=size, **entry)]
    return [world.ready_vm(f"pooler-{number}", age) for number in range(size)]


def recycled(world: PoolWorld) -> int:
    """Inspect the pool. Return how many VMs it has recycled, since the last call too."""
    world.inspect()
    return len(world.names_in(Queue.COMPLETED))


@pytest.mark.parametrize(("size", "quarter"), [(1, 1), (2, 1), (4, 1), (7, 1), (8, 2), (11, 2), (40, 10)])
def test_a_quarter_of_a_pool_is_recycled_at_once_and_one_vm_at_least(world: PoolWorld, size: int, quarter: int) -> None:
    fill(world, size)
    inspection = world.inspect()
    assert len(world.names_in(Queue.READY)) == size - quarter
    assert len(world.names_in(Queue.COMPLETED)) == quarter
    assert [work.step for work in inspection.work].count(Step.CLONE) == min(quarter, 10), "their replacements start"
    assert world.dead_letters("ready") == [], "they have not failed"


def test_the_next_quarter_waits_for_the_replacements(world: PoolWorld) -> None:
    fill(world, 8)
    clones = world.clones()
    for _ in range(3):
        world.now += 5
        assert recycled(world) == 2
    world.clone(clones[0])
    assert recycled(world) == 2, "one of two is there"
    world.clone(clones[1])
    assert recycled(world) == 4


def test_a_whole_pool_is_recycled_and_never_lacks_more_than_a_quarter(world: PoolWorld) -> None:
    old = set(fill(world, 8))
    for _ in range(20):
        world.now += 5
        work = world.inspect().work
        assert len(world.names_in(Queue.READY)) >= 6
        world.deliver_all(work)
    assert not old & world.names_in(Queue.READY)
    assert len(world.names_in(Queue.READY)) == 8


def test_a_pool_of_one_is_recycled(world: PoolWorld) -> None:
    [old] = fill(world, 1)
    world.round()
    world.round()
    assert old not in world.provider.machines
    assert len(world.names_in(Queue.READY)) == 1


def test_the_oldest_go_first(world: PoolWorld) -> None:
    fill(world, 3)
    world.pools = [pool(size=4)]
    oldest = world.ready_vm("pooler-oldest", 2 * OLD)
    world.inspect()
    assert world.names_in(Queue.COMPLETED) == {oldest}


def test_a_pool_that_lacks_vms_keeps_its_old_ones(world: PoolWorld) -> None:
    fill(world, 8)
    for vm in ("pooler-0", "pooler-1"):
        world.check_out(vm)
    assert recycled(world) == 0


def test_a_paused_pool_keeps_its_old_vms(world: PoolWorld) -> None:
    fill(world, 8)
    pauses.pause(
        world.db, POOL, Pause(state=PauseState.PAUSED, since=world.now, who="jane", why="x"), {"action": "pause"}
    )
    assert recycled(world) == 0


def test_an_old_vm_stays_while_the_provider_fails(world: PoolWorld) -> None:
    world.config["breaker_failures"] = 2
    fill(world, 8)
    world.provider.raises("list", RESET, always=True)
    for _ in range(4):
        assert recycled(world) == 0
        world.now += 5


@pytest.mark.parametrize("of_pool", [True, False])
def test_after_a_suspension_one_vm_makes_room_for_the_clone_that_tries(world: PoolWorld, of_pool: bool) -> None:
    fill(world, 8)
    key = keys.pool_breaker(POOL) if of_pool else keys.breaker("scripted")
    world.client.hset(key, "open_until", world.now + 30)
    assert recycled(world) == 0
    world.now += 31
    assert recycled(world) == 1
    assert recycled(world) == 1


def test_a_vm_that_the_inventory_lacks_is_not_recycled(world: PoolWorld) -> None:
    vms = fill(world, 8)
    world.provider.hidden = {*vms}
    assert recycled(world) == 0


def test_the_log_says_why_a_vm_left_ready(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    [vm] = fill(world, 1)
    world.inspect()
    assert f"[!] [{POOL}] '{vm}' reached end of TTL after 60 minutes, removed from 'ready' queue" in caplog.messages


@pytest.mark.parametrize(
    ("entry", "config", "minutes"),
    [
        ({}, {}, 60),
        ({}, {"ready_ttl": 10}, 10),
        ({"ready_ttl": 30}, {}, 30),
        ({"ready_ttl": 30}, {"ready_ttl": 10}, 30),
        ({"ready_ttl": 0}, {"ready_ttl": 10}, 0),
        ({}, {"ready_ttl": 0}, 0),
        ({"ready_ttl": 1}, {"ready_ttl": 0}, 1),
        ({}, {"ready_ttl": 0.5}, 0.5),
    ],
)
def test_the_limit_is_the_pools_own_else_the_global_one_else_an_hour(
    world: PoolWorld, entry: dict[str, Any], config: dict[str, Any], minutes: float
) -> None:
    world.config.update(config)
    fill(world, 1, minutes * MINUTE, **entry)
    assert recycled(world) == 0
    world.now += 1
    assert recycled(world) == 1


def test_an_expired_vm_is_recycled_right_after_a_check(world: PoolWorld) -> None:
    [vm] = fill(world, 1)
    world.client.hset(f"vmpooler__vm__{vm}", "check", world.stamp(1))
    assert recycled(world) == 1


def test_a_recycled_vm_is_not_checked(world: PoolWorld) -> None:
    fill(world, 1)
    assert world.due(Step.CHECK_READY) == []


def test_a_vm_that_is_checked_out_during_an_inspection_stays_with_its_user(world: PoolWorld) -> None:
    [vm] = fill(world, 1)
    world.provider.before("list", lambda _: world.check_out(vm))
    world.inspect()
    assert world.names_in(Queue.RUNNING) == {vm}
    assert world.names_in(Queue.COMPLETED) == set()


def test_an_inspection_beside_another_one_recycles_no_second_quarter(world: PoolWorld) -> None:
    vms = fill(world, 8)
    names = [vm.encode() for vm in vms]
    for _ in range(3):
        recycle_expired(world.db, POOL, names, size=8, now=world.now)
    assert len(world.names_in(Queue.COMPLETED)) == 2


def test_an_inspection_reads_the_metadata_of_each_ready_vm_once(world: PoolWorld) -> None:
    """Its recycling and its checks share them: a pool may have 10,000."""
    fill(world, 1_000, age=MINUTE)
    world.inspect()
    world.client.config_resetstat()
    world.inspect()
    assert 1_000 <= world.client.info("commandstats")["cmdstat_hmget"]["calls"] < 1_100
