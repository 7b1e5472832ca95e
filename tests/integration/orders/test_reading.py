"""The orders for all pools are read in one round trip."""

from tests.support import counting_proxy
from tests.support.pool_world import PoolWorld, pool
from tests.support.servers import TestServer
from vmpooler_tasks.jobs.online.trials import read_all_orders
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.orders.overrides import read_orders


def test_the_orders_for_many_pools_take_one_round_trip(world: PoolWorld, valkey: TestServer) -> None:
    world.pools = [pool(f"pool-{number}") for number in range(50)]
    world.client.hset(keys.POOL_TEMPLATES, "pool-7", "new")
    world.client.sadd(keys.POOL_RESETS, "pool-49")
    found = read_all_orders(world.settings, world.db)
    assert found == {one.name: read_orders(world.db, one.name) for one in world.pools}
    assert [name for name, one in found.items() if one.template == "new"] == ["pool-7"]
    assert [name for name, one in found.items() if one.reset] == ["pool-49"]
    assert counting_proxy.round_trips(valkey.port, lambda db: read_all_orders(world.settings, db)) == 1


def test_without_a_pool_there_are_no_orders(world: PoolWorld) -> None:
    world.pools = []
    assert read_all_orders(world.settings, world.db) == {}
