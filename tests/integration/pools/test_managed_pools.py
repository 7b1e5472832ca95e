"""Every pool that these workers manage is recorded, so that it is known once no configuration names it any more."""

import json

from tests.support.pool_world import TEMPLATE, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.model.guards.managed import ManagedPool
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards.managed_pools import read_managed_names, read_managed_pool


def test_an_inspection_records_its_pool(world: PoolWorld) -> None:
    world.pools = [pool(folder="vms/one", clone_target="cluster-1", password="hunter2")]
    world.inspect()
    found = read_managed_pool(world.db, POOL)
    assert found
    assert (found.name, found.provider, found.size) == (POOL, "scripted", 2)
    assert (found.template, found.clone_target, found.since) == (TEMPLATE, "cluster-1", world.now)
    assert found.entry["folder"] == "vms/one"
    assert b"hunter2" not in world.client.hget(keys.MANAGED_POOLS, POOL)


def test_a_change_of_the_pool_is_recorded_and_the_record_keeps_its_age(world: PoolWorld) -> None:
    since = world.now
    world.inspect()
    world.now += 60
    world.pools = [pool(template="templates/two")]
    world.inspect()
    found = read_managed_pool(world.db, POOL)
    assert found
    assert (found.template, found.since) == ("templates/two", since)


def test_a_pool_whose_inventory_was_never_read_is_not_recorded(world: PoolWorld) -> None:
    """The record says that the pool was managed: its strays are judged by that."""
    world.provider.raises("list", TransientProviderError("down"), always=True)
    world.inspect()
    assert read_managed_names(world.db) == set()


def test_a_record_that_cannot_be_read_still_says_that_the_pool_was_managed(world: PoolWorld) -> None:
    wrong = json.dumps({"provider": 7, "size": "x", "entry": []})
    odd = {b"a": b"no json", b"b": b"[" * 100_000, b"c": wrong, b"d": b"\xff"}
    world.client.hset(keys.MANAGED_POOLS, mapping=odd)
    assert read_managed_names(world.db) == {"a", "b", "c", "d"}
    assert all(read_managed_pool(world.db, name) == ManagedPool(name=name, provider="") for name in "abcd")
