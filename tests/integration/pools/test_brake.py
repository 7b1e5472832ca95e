"""The brake of a pool: what is unknown or missing is not destroyed while it is too much of the pool."""

import pytest

from tests.support.brakes import brake, confirm, engaged, hide, names, rounds, running, show
from tests.support.pool_world import PoolWorld, Scripted, pool
from tests.support.world import POOL
from vmpooler_tasks.jobs.inspection.strays import DISCOVERY_SECONDS
from vmpooler_tasks.model.guards.brake import BrakeCause
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.providers import Inventory, PoolSpec
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.guards import brakes, strays

pytestmark = pytest.mark.both_servers

OTHER = "ubuntu-2004-x86_64"


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """A pool that starts no clones."""
    return PoolWorld(db, pools=[pool(size=40)], config={"task_limit": 0})


def test_redis_that_was_emptied_under_running_vms_destroys_none(world: PoolWorld) -> None:
    vms = running(world, 34)
    rounds(world, 2)
    world.client.flushall()
    rounds(world)
    assert set(world.provider.machines) == set(vms)
    found = engaged(world)
    assert (found.why, found.strays, found.missing, found.known) == (BrakeCause.UNMANAGED, 34, 0, 34)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_redis_that_was_emptied_destroys_nothing_of_a_small_pool_either(world: PoolWorld, count: int) -> None:
    vms = running(world, count)
    rounds(world, 2)
    world.client.flushall()
    rounds(world)
    assert set(world.provider.machines) == set(vms)
    assert engaged(world).strays == count


@pytest.mark.parametrize("moment", ["before the inventory", "in the inventory"])
@pytest.mark.parametrize("count", [2, 34])
def test_redis_that_is_emptied_during_an_inspection_destroys_nothing(world: PoolWorld, count: int, moment: str) -> None:
    vms = running(world, count)
    if moment == "in the inventory":
        rounds(world, 2)  # else the first inspection of all meets it
    world.provider.before("list", lambda _: world.client.flushall())
    world.inspect()
    world.provider.before("list", None)
    rounds(world)
    assert set(world.provider.machines) == set(vms)
    assert engaged(world).strays == count


def test_an_inspection_that_decided_before_redis_was_emptied_discovers_nothing(world: PoolWorld) -> None:
    running(world, 20)
    rounds(world, 2)
    show(world, ["pooler-stray"])
    world.inspect()
    world.now += DISCOVERY_SECONDS
    mark = brakes.start_inventory(world.db, POOL)
    world.client.flushall()
    brakes.start_inventory(world.db, POOL)
    world.client.zadd(keys.first_seen(Queue.DISCOVERED, POOL), {"pooler-stray": world.now - 60})
    found = strays.Discovery(pool=POOL, mark=mark, seen_before=world.now, others=[])
    assert strays.discover(world.db, found, [b"pooler-stray"]) == []


def test_half_an_inventory_completes_nothing(world: PoolWorld) -> None:
    vms = running(world, 20)
    ready = [world.ready_vm(vm, 60) for vm in names(10, prefix="ready")]
    rounds(world, 2)
    hide(world, [*vms[::2], *ready[::2]])
    rounds(world)
    assert world.names_in(Queue.RUNNING) == set(vms)
    assert world.names_in(Queue.READY) == set(ready)
    found = engaged(world)
    assert (found.why, found.strays, found.missing, found.known) == (BrakeCause.MISSING, 0, 15, 30)


def test_an_empty_inventory_completes_nothing(world: PoolWorld) -> None:
    vms = running(world, 34)
    hide(world, vms)
    rounds(world)
    assert world.names_in(Queue.RUNNING) == set(vms)
    assert engaged(world).missing == 34


def test_the_wrong_folder_destroys_nothing_there_and_forgets_nothing_here(world: PoolWorld) -> None:
    vms = running(world, 10)
    rounds(world, 2)
    hide(world, vms)
    foreign = names(8, prefix="foreign")
    show(world, foreign)
    rounds(world)
    assert world.names_in(Queue.RUNNING) == set(vms)
    assert set(world.provider.machines) == set(foreign)
    found = engaged(world)
    assert (found.strays, found.missing, found.known) == (8, 10, 10)


@pytest.mark.parametrize(("known", "few"), [(2, 2), (8, 2), (12, 3), (100, 25)])
def test_few_strays_do_not_engage_it_and_one_more_does(world: PoolWorld, known: int, few: int) -> None:
    running(world, known - few if known > few else known)
    rounds(world, 1)
    unknown = names(few, prefix="stray")
    show(world, unknown)
    rounds(world)
    assert brake(world) is None
    assert not set(unknown) & set(world.provider.machines)
    show(world, names(few * 2 + 1, prefix="more"))
    rounds(world)
    assert engaged(world).strays == few * 2 + 1
    assert set(names(few * 2 + 1, prefix="more")) <= set(world.provider.machines)


def test_the_limit_is_that_of_strays_and_missing_vms_together(world: PoolWorld) -> None:
    vms = running(world, 20)
    rounds(world, 1)
    hide(world, vms[:3])
    show(world, names(3, prefix="stray"))
    rounds(world)
    assert world.names_in(Queue.RUNNING) == set(vms)
    found = engaged(world)
    assert (found.strays, found.missing, found.known, found.limit) == (3, 3, 20, 5)


@pytest.mark.parametrize(("percent", "is_held"), [(0, True), (49, True), (50, False), (100, False)])
def test_destroy_max_percent_is_the_limit(world: PoolWorld, percent: float, is_held: bool) -> None:
    world.config = {**world.config, "destroy_max_percent": percent}
    vms = running(world, 10)
    rounds(world, 1)
    hide(world, vms[:5])
    rounds(world)
    assert (brake(world) is not None) is is_held
    assert len(world.names_in(Queue.RUNNING)) == (10 if is_held else 5)


def test_a_stray_of_a_pool_that_was_never_managed_engages_it_whatever_the_limit(world: PoolWorld) -> None:
    world.config = {**world.config, "destroy_max_percent": 100}
    running(world, 50)
    show(world, ["pooler-stray"])
    rounds(world)
    assert "pooler-stray" in world.provider.machines
    assert (engaged(world).why, engaged(world).strays) == (BrakeCause.UNMANAGED, 1)


class SharedFolder(Scripted):
    """A provider whose pools share one folder: the inventory of each of them has the VMs of all."""

    def list_vms(self, pool: PoolSpec) -> Inventory:
        super().list_vms(pool)
        return dict.fromkeys(self.machines, "")


def test_pools_that_share_a_folder_leave_each_others_vms_alone(world: PoolWorld) -> None:
    world.pools, world.provider = [pool(size=40), pool(OTHER, size=40)], SharedFolder()
    vms = [*running(world, 20), *running(world, 20, name=OTHER)]
    rounds(world)
    assert set(world.provider.machines) == set(vms)
    assert brakes.read_brakes(world.db) == {}
    show(world, ["pooler-stray"])
    rounds(world)
    assert set(world.provider.machines) == set(vms), "a stray of both is destroyed once"
    assert len(world.provider.called("destroy")) == 1


def test_a_pool_that_is_renamed_leaves_the_vms_of_its_old_name_alone(world: PoolWorld) -> None:
    world.provider = SharedFolder()
    vms = running(world, 20)
    rounds(world, 2)
    world.pools = [pool(OTHER, size=40)]
    for _ in range(5):
        world.deliver_all(world.inspect(OTHER).work)
        world.now += DISCOVERY_SECONDS + 1
    assert world.members(Queue.RUNNING, POOL) == {vm.encode() for vm in vms}
    assert set(world.provider.machines) == set(vms)
    assert brake(world, OTHER) is None


def test_a_queue_of_another_pool_that_cannot_be_read_makes_no_strays(world: PoolWorld) -> None:
    running(world, 10)
    world.client.sadd(keys.POOLS.decode(), OTHER)
    rounds(world, 1)
    world.client.set(keys.queue(Queue.RUNNING, OTHER), "x")
    show(world, ["pooler-stray"])
    rounds(world)
    assert "pooler-stray" in world.provider.machines
    world.client.delete(keys.queue(Queue.RUNNING, OTHER))
    rounds(world)
    assert "pooler-stray" not in world.provider.machines


def test_running_vms_that_redis_forgot_are_held_however_few_they_are(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    running(world, 40)
    rounds(world, 2)
    forgotten = world.running_vm("pooler-forgotten", 60)
    world.client.srem(keys.queue(Queue.RUNNING, POOL), forgotten)
    world.client.delete(keys.vm(forgotten.encode()))
    rounds(world)
    assert forgotten in world.provider.machines
    found = engaged(world)
    assert (found.why, found.strays, found.unrecorded) == (BrakeCause.UNRECORDED, 1, 1)
    assert caplog.messages.count(f"[!] [{POOL}] Redis has no metadata of {forgotten}: it has lost writes") == 1
    confirm(world)
    rounds(world)
    assert forgotten not in world.provider.machines
    assert brake(world) is None


def test_a_confirmation_of_other_vms_is_none_of_those_that_redis_forgot(world: PoolWorld) -> None:
    vms = running(world, 20)
    rounds(world, 1)
    hide(world, vms[:8])
    rounds(world, 1)
    confirm(world)
    show(world, vms[:8])
    world.provider.has("pooler-forgotten")
    rounds(world)
    assert "pooler-forgotten" in world.provider.machines
    assert engaged(world).why is BrakeCause.UNRECORDED
