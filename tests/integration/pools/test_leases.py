"""Leases are renewed while their holder works. A lost lease is detected."""

import os
import threading
from itertools import count
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.pool_world import ManualRenewer
from tests.support.processes import until
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.keys import POOL_SLOTS, REQUEST_SLOTS, Slots
from vmpooler_tasks.store.pools import clones, destroys
from vmpooler_tasks.store.pools.clones import CloneRef
from vmpooler_tasks.store.pools.leases import LeaseRenewer

pytestmark = pytest.mark.both_servers

SECONDS = 0.08


def claimed(world: World, vm: str = "pooler-a", slots: Slots = POOL_SLOTS) -> int:
    """Claim a clone with a lease until now. Return its fence."""
    world.client.sadd(keys.queue(Queue.PENDING, POOL), vm)
    clone = CloneRef(vm=vm, pool=POOL, provider="dummy", slots=slots)
    return clones.claim(
        world.db, clone, owner="task", now=world.now, stamp=b"", leased_until=world.now, max_attempts=9
    ).fence


def lease_end(world: World, vm: str = "pooler-a", key: bytes = POOL_SLOTS.key) -> float:
    return float(world.client.zscore(key, vm))


@pytest.fixture
def renewer(world: World) -> LeaseRenewer:
    """It renews every fiftieth of a second, each time for a second more of the tests' time."""
    seconds = count(1)
    return LeaseRenewer(world.db, SECONDS, lambda: world.now + next(seconds))


def test_a_lease_is_renewed_while_it_is_held_and_not_after(world: World, renewer: LeaseRenewer) -> None:
    fence = claimed(world)
    with renewer.holding("pooler-a", fence) as lease:
        until(lambda: lease_end(world) > world.now + 3, "the lease is renewed")
        assert not lease.lost
    after = lease_end(world)
    with renewer.holding("pooler-b", claimed(world, "pooler-b")):
        until(lambda: lease_end(world, "pooler-b") > after + 3, "another is renewed")
    assert lease_end(world) <= after + 1, "but for one that was under way"


def test_one_thread_serves_all_leases(world: World, renewer: LeaseRenewer) -> None:
    names = [f"pooler-{index}" for index in range(20)]
    before = sum(thread.name == "leases" for thread in threading.enumerate())

    def hold(rest: list[str]) -> None:
        if rest:
            with renewer.holding(rest[0], claimed(world, rest[0])):
                hold(rest[1:])
        else:
            until(lambda: all(lease_end(world, vm) > world.now for vm in names), "all are renewed")

    hold(names)
    assert sum(thread.name == "leases" for thread in threading.enumerate()) == before + 1


def test_a_forked_child_has_a_thread_of_its_own(
    world: World, renewer: LeaseRenewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with renewer.holding("pooler-a", claimed(world)):
        before = sum(thread.name == "leases" for thread in threading.enumerate())
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with renewer.holding("pooler-b", claimed(world, "pooler-b")):
            assert sum(thread.name == "leases" for thread in threading.enumerate()) == before + 1


def test_a_lease_that_another_took_over_is_lost_and_not_renewed(world: World, renewer: LeaseRenewer) -> None:
    with renewer.holding("pooler-a", claimed(world)) as lease:
        claimed(world)
        until(lambda: lease.lost, "the holder learns of the loss")
        assert lease_end(world) <= world.now + 1000
        end = lease_end(world)
        with renewer.holding("pooler-b", claimed(world, "pooler-b")):
            until(lambda: lease_end(world, "pooler-b") > world.now, "the other is renewed")
        assert lease_end(world) == end


@pytest.mark.parametrize("slots", [POOL_SLOTS, REQUEST_SLOTS])
def test_leases_of_clones_are_renewed_in_their_own_slots(world: World, slots: Slots) -> None:
    fence = claimed(world, slots=slots)
    renewer = ManualRenewer(world.db, 60, world.clock)
    with renewer.holding("pooler-a", fence):
        renewer.renew_all()
    assert {key: world.client.zrange(key, 0, -1, withscores=True) for key in world.client.keys("*clones")} == {
        slots.key: [(b"pooler-a", world.now + 60)]
    }


def test_leases_of_destructions_are_renewed(world: World) -> None:
    world.vm(Queue.COMPLETED, "pooler-a", 0)
    claimed = destroys.claim(
        world.db, "pooler-a", POOL, owner="task", now=world.now, leased_until=world.now, stamp=b"x", keep_seconds=9
    )
    renewer = ManualRenewer(world.db, 60, world.clock)
    with renewer.holding("pooler-a", claimed.fence):
        renewer.renew_all()
    assert lease_end(world, key=keys.DESTROYS) == world.now + 60
    assert not world.client.exists(POOL_SLOTS.key)


def test_a_lease_that_ended_in_the_meantime_comes_to_no_new_life(world: World) -> None:
    fence = claimed(world)
    world.client.zrem(POOL_SLOTS.key, "pooler-a")
    renewer = ManualRenewer(world.db, 60, world.clock)
    with renewer.holding("pooler-a", fence):
        renewer.renew_all()
    assert not world.client.exists(POOL_SLOTS.key)


def test_a_lease_that_cannot_be_renewed_is_tried_again(
    world: World, renewer: LeaseRenewer, caplog: pytest.LogCaptureFixture
) -> None:
    fence = claimed(world)
    with renewer.holding("pooler-a", fence) as lease:
        world.client.config_set("maxmemory", 1)
        until(lambda: any("1 leases could not be renewed" in line for line in caplog.messages), "the log names it")
        world.client.config_set("maxmemory", 0)
        until(lambda: lease_end(world) > world.now, "the lease is renewed again")
        assert not lease.lost


def test_a_server_that_is_gone_for_a_while_loses_no_lease(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with servers.running("valkey", tmp_path / "own", ["--appendonly", "yes", "--appendfsync", "always"]) as server:
        world = World(Database(server.url))
        renewer = ManualRenewer(world.db, 60, world.clock)
        with renewer.holding("pooler-a", claimed(world)) as lease:
            server.kill()
            renewer.renew_all()
            assert not lease.lost
            assert "1 leases could not be renewed: Redis does not reply" in caplog.messages[0]
            server.start()
            renewer.renew_all()
            assert not lease.lost
            assert lease_end(world) == world.now + 60
        world.db.close()
