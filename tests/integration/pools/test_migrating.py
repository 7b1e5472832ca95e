"""VMPooler's API marks each VM that is checked out as migrating. Inspections and destructions remove the mark."""

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.pool_world import HOUR, PoolWorld, pool
from tests.support.world import POOL, settings
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.jobs.inspection.strays import DISCOVERY_SECONDS
from vmpooler_tasks.jobs.purge import cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.vmpooler import migrating

pytestmark = pytest.mark.both_servers

VM, OTHER = "pooler-a", "ubuntu-2004-x86_64"
MIGRATING = keys.queue(Queue.MIGRATING, POOL)


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """A pool that starts no clones."""
    return PoolWorld(db, pools=[pool(size=5)], config={"task_limit": 0})


def api(world: PoolWorld) -> ApiClient:
    return ApiClient(world.client, [ApiPool(POOL)], clock=world.clock)


def test_a_checkout_leaves_nothing_in_migrating_after_one_inspection(world: PoolWorld) -> None:
    vms = {world.ready_vm(f"pooler-{index}", 60, check=world.stamp(0)) for index in range(3)}
    assert set(api(world).checkout({POOL: 3}).vms) == world.names_in(Queue.MIGRATING) == vms
    world.inspect()
    assert not world.client.exists(MIGRATING)
    assert world.names_in(Queue.RUNNING) == vms


def test_a_running_vm_that_the_inventory_lacks_stays_until_it_stops_running(world: PoolWorld) -> None:
    world.running_vm(VM)
    world.client.sadd(MIGRATING, VM)
    world.provider.hidden = {VM}
    world.inspect()
    assert world.names_in(Queue.MIGRATING) == {VM}
    world.provider.hidden = set()
    world.inspect()
    assert not world.client.exists(MIGRATING)


def test_without_an_inventory_only_what_does_not_run_is_removed(world: PoolWorld) -> None:
    world.running_vm(VM)
    world.client.sadd(MIGRATING, VM, "pooler-gone")
    world.provider.raises("list", TransientProviderError("no"))
    world.inspect()
    assert world.names_in(Queue.MIGRATING) == {VM}


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY, Queue.COMPLETED, Queue.DISCOVERED])
def test_a_vm_of_another_queue_is_removed_from_migrating_and_stays_there(world: PoolWorld, queue: Queue) -> None:
    world.vm(queue, VM, 60, check=world.stamp(0))
    world.client.sadd(MIGRATING, VM)
    world.provider.raises("list", TransientProviderError("no"))  # so that discovered is left as it is, too
    world.inspect()
    assert world.queues_of(VM) == [queue]


def test_the_destruction_of_a_vm_removes_it_from_migrating(world: PoolWorld) -> None:
    world.completed_vm(VM)
    [work] = [one for one in world.inspect().work if one.step is Step.DESTROY]
    world.client.sadd(MIGRATING, VM, "pooler-b")
    world.deliver(work)
    assert world.names_in(Queue.MIGRATING) == {"pooler-b"}


def test_a_vm_that_is_deleted_through_the_api_leaves_nothing_behind(world: PoolWorld) -> None:
    world.ready_vm(VM, 60, check=world.stamp(0))
    server = api(world)
    assert server.checkout({POOL: 1}).vms == (VM,)
    assert server.delete_vm(VM).ok
    assert world.round() == ["destroyed"]
    assert world.queues_of(VM) == []
    assert VM not in world.provider.machines


def test_a_vm_that_is_only_in_migrating_is_discovered_and_destroyed(world: PoolWorld) -> None:
    world.inspect()  # the pool is known from now on: a stray does not engage its brake
    world.provider.has(VM)
    world.client.sadd(MIGRATING, VM)
    world.client.hset(keys.vm(VM.encode()), "pool", POOL)
    world.has_metadata(VM)
    for _ in range(5):
        world.round()
        world.now += DISCOVERY_SECONDS
    assert world.provider.machines == {}
    assert world.queues_of(VM) == []


def test_a_vm_whose_checkout_is_under_way_keeps_running(world: PoolWorld) -> None:
    """The inspection comes between any two commands of the checkout."""
    for number in range(4):
        vm = world.ready_vm(f"pooler-{number}", 60, check=world.stamp(0))
        commands = iter(range(10))

        def act(_: object, number: int = number, commands: object = commands) -> None:
            if next(commands) == number + 1:  # type: ignore[call-overload]
                world.inspect()

        server = api(world)
        server.before_command = act
        assert server.checkout({POOL: 1}).vms == (vm,)
        world.inspect()
        assert world.queues_of(vm) == [Queue.RUNNING]


def test_the_other_pools_are_left_alone(world: PoolWorld) -> None:
    world.pools.append(pool(OTHER))
    world.client.sadd(keys.queue(Queue.MIGRATING, OTHER), VM)
    world.client.sadd(MIGRATING, VM)
    world.inspect()
    assert world.names_in(Queue.MIGRATING, OTHER) == {VM}
    world.inspect(OTHER)
    assert world.names_in(Queue.MIGRATING, OTHER) == set()


def test_names_of_any_bytes_are_removed(world: PoolWorld) -> None:
    world.client.sadd(MIGRATING, b"\xff\x00", b"", "ä", "with blank")
    world.inspect()
    assert not world.client.exists(MIGRATING)


def test_without_manage_pools_it_is_untouched_and_counts_as_a_queue(world: PoolWorld) -> None:
    world.vm(Queue.MIGRATING, VM, 400 * HOUR)
    chosen = settings(max_orphaned_age=HOUR, manage_pools=False)
    cycle.run(world.db, chosen, world.clock, PurgeOptions(who="test"))
    assert world.names_in(Queue.MIGRATING) == {VM}
    assert world.ttl(VM) == -1


def test_hundreds_of_thousands_of_names_are_removed_without_holding_the_server(world: PoolWorld) -> None:
    for first in range(0, 300_000, 10_000):
        world.client.sadd(MIGRATING, *(f"pooler-{index}" for index in range(first, first + 10_000)))
    running = [f"pooler-{index}" for index in range(0, 300_000, 100)]
    world.client.sadd(keys.queue(Queue.RUNNING, POOL), *running)
    inventory = {vm.encode() for vm in running[1:]}
    world.client.config_resetstat()
    assert migrating.clear(world.db, POOL, inventory) == 299_999
    pages = world.client.info("commandstats")["cmdstat_evalsha"]
    assert pages["calls"] > 300
    assert pages["usec_per_call"] < 10_000
    assert world.names_in(Queue.MIGRATING) == {running[0]}
