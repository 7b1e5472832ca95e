"""A lost key of the watch for another pool manager is no sign of one, also when it is lost again and again."""

import time
from collections.abc import Callable

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.model.manager_watch import WatchState
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import other_manager

OTHER_POOL = "another-pool"
INTERVAL = 5.0


class WatchedWorld(PoolWorld):
    """Two pools, whose workers made VMs; an old clone of another manager is still pending."""

    def observe(self) -> WatchState:
        self.now += INTERVAL
        return other_manager.observe(self.db, (POOL, OTHER_POOL), now=self.now, interval_seconds=INTERVAL).state

    def work_until_alone(self) -> list[WatchState]:
        """Check the watch while the workers make VMs and users take them. Return its states until it has ended."""
        states = [self.observe()]
        while states[-1] is not WatchState.ALONE:
            assert len(states) < 10, states
            states.append(self.observe())
        self.use_all()
        self.round()
        assert self.observe() is WatchState.ALONE
        return states

    def use_all(self) -> None:
        for name in (POOL, OTHER_POOL):
            for vm in self.names_in(Queue.READY, name):
                self.client.smove(keys.queue(Queue.READY, name), keys.queue(Queue.COMPLETED, name), vm)

    def start_foreign_clone(self, vm: str, age: float = 0) -> None:
        self.client.sadd(keys.queue(Queue.PENDING, POOL), vm)
        stamp = ruby_utc(moment(self.now - age))
        self.client.hset(keys.vm(vm.encode()), mapping={"clone": stamp, "template": POOL, "pool": POOL})


@pytest.fixture
def world(db: Database) -> WatchedWorld:
    world = WatchedWorld(db, now=time.time(), pools=[pool(POOL, size=4), pool(OTHER_POOL, size=4)])
    world.work_until_alone()
    world.start_foreign_clone("pooler-left-behind")
    world.work_until_alone()
    return world


@pytest.mark.parametrize("key", [keys.OWN_BOOTS, keys.FOREIGN_CLONES, keys.CLONES, keys.MANAGER_WATCH])
def test_a_key_that_is_deleted_again_and_again_costs_one_watch_each_time(world: WatchedWorld, key: bytes) -> None:
    for _ in range(3):
        world.use_all()
        started = world.clones()  # nobody has claimed them yet
        assert world.client.delete(key)
        states = world.work_until_alone()
        assert len(states) <= 3
        assert WatchState.OTHER not in states
        for vm in started:
            world.clone(vm)


def boots(world: WatchedWorld, number: int) -> None:
    world.client.hset(keys.LAST_BOOT, POOL, f"2024-01-15 10:30:{number:02} +0000")


def clones(world: WatchedWorld, number: int) -> None:
    world.start_foreign_clone(f"pooler-{number}")


def counts(world: WatchedWorld, number: int) -> None:
    del number
    world.client.incr(keys.ACTIVE_CLONES)


@pytest.mark.parametrize("act", [boots, clones, counts])
@pytest.mark.parametrize("key", [keys.OWN_BOOTS, keys.FOREIGN_CLONES, keys.CLONES])
def test_another_manager_is_seen_all_the_same(
    world: WatchedWorld, key: bytes, act: Callable[[WatchedWorld, int], None]
) -> None:
    world.use_all()
    world.clones()
    assert world.client.delete(key)
    states = []
    for number in range(4):
        act(world, number)
        states.append(world.observe())
    assert states[0] is not WatchState.ALONE
    assert states[-1] is WatchState.OTHER


def test_clones_that_wait_for_a_worker_and_lost_their_slots_have_them_again(world: WatchedWorld) -> None:
    world.use_all()
    waiting = world.clones()
    world.client.delete(keys.CLONES)
    world.inspect()
    assert {vm.encode() for vm in waiting} <= set(world.client.zrange(keys.CLONES, 0, -1))
    world.now += world.settings.config.lease_seconds + 1
    assert set(waiting) <= {work.vm for work in world.reap()}
