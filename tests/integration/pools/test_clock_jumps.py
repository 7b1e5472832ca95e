"""What was written while the clock was an hour ahead ends with the mistake: nothing waits for that hour."""

import pytest

from tests.support.pool_world import HOUR, MISSING, RESET, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import ProviderError
from vmpooler_tasks.jobs.pools import clone, destroy
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.pools.new_clones import PLANNED_LEASES
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import BreakerLimits, CallKind

pytestmark = pytest.mark.both_servers

LEASE = 60


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """A pool, and a clock that is an hour ahead."""
    own = PoolWorld(db, pools=[pool(size=1)], config={"breaker_failures": 1})
    own.now += HOUR
    return own


def set_right(world: PoolWorld) -> None:
    world.now -= HOUR


def die(world: PoolWorld, vm: str) -> None:
    """Let the worker die in the middle of the clone: nobody hears of it again."""
    world.provider.raises("create", MISSING)
    with pytest.raises(ProviderError):
        world.clone(vm, "dead/0")


def fail_clone(world: PoolWorld, vm: str, error: ProviderError) -> None:
    world.provider.raises("create", error, always=True)
    world.deliver(Work(Step.CLONE, vm, POOL))
    world.provider.raises("create")


def test_a_clone_that_nobody_has_claimed_is_handed_out_again(world: PoolWorld) -> None:
    [vm] = world.clones()
    assert world.reap() == []
    set_right(world)
    assert [work.vm for work in world.reap()] == [vm]
    assert world.reap() == [], "once"
    assert world.deliver(Work(Step.CLONE, vm, POOL)) == "ready"


def test_the_clone_of_a_dead_worker_goes_to_another_one(world: PoolWorld) -> None:
    [vm] = world.clones()
    die(world, vm)
    assert world.clone(vm, "other/0") == "busy"
    set_right(world)
    assert [work.vm for work in world.reap()] == [vm]
    assert world.clone(vm, "other/0") == "ready"
    assert world.slots() == 0


def test_a_clone_that_a_live_worker_holds_for_longer_than_others_may_wait_is_its_own(world: PoolWorld) -> None:
    """Two configurations: this worker's leases are long."""
    world.config |= {"lease_seconds": HOUR}
    [vm] = world.clones()
    world.provider.before("create", lambda _: world.config.update(lease_seconds=1, breaker_seconds=1))
    world.provider.before("ready", lambda _: pytest.fail("it is another one's") if world.reap() else None)
    assert world.clone(vm) == "ready"


@pytest.mark.parametrize("error", [RESET, MISSING], ids=["provider", "pool"])
def test_a_suspension_and_the_clones_that_wait_for_its_end(world: PoolWorld, error: ProviderError) -> None:
    world.pools = [pool(size=2)]
    first, second = world.clones()
    fail_clone(world, first, error)
    if error is RESET:
        assert world.clone(second) == "suspended"
    set_right(world)
    world.reap()
    suspended = breakers.suspended_providers(world.db, ["scripted"]) + breakers.suspended_pools(world.db, [POOL])
    assert [one.suspended_until for one in suspended] == [world.now], "the next clone is the trial"
    assert world.clone(second) == "ready"
    assert len(world.clones()) == 1
    assert not breakers.suspended_providers(world.db, ["scripted"]) + breakers.suspended_pools(world.db, [POOL])


def test_a_suspension_that_can_be_is_left(world: PoolWorld) -> None:
    [vm] = world.clones()
    fail_clone(world, vm, RESET)
    before = breakers.suspended_providers(world.db, ["scripted"])
    world.reap()
    assert breakers.suspended_providers(world.db, ["scripted"]) == before
    assert before[0].suspended_until > world.now


def test_a_claim_of_the_inventory(world: PoolWorld) -> None:
    limits = BreakerLimits(5, 30)
    breakers.count_failure(world.db, "scripted", CallKind.INVENTORY, limits, now=world.now)
    assert breakers.claim_inventory(world.db, "scripted", now=world.now, until=world.now + 12)
    assert not breakers.claim_inventory(world.db, "scripted", now=world.now, until=world.now + 12)
    set_right(world)
    assert breakers.claim_inventory(world.db, "scripted", now=world.now, until=world.now + 12)
    assert not breakers.claim_inventory(world.db, "scripted", now=world.now, until=world.now + 12)


def test_a_planned_destruction(world: PoolWorld) -> None:
    world.pools = [pool(size=0)]
    vm = world.completed_vm("pooler-a")
    assert world.due(Step.DESTROY) == [vm]
    assert world.due(Step.DESTROY) == []
    set_right(world)
    assert world.due(Step.DESTROY) == [vm]
    assert world.due(Step.DESTROY) == []
    world.now += PLANNED_LEASES * LEASE
    assert world.due(Step.DESTROY) == [vm]


def test_the_destruction_of_a_dead_worker(world: PoolWorld) -> None:
    world.pools = [pool(size=0)]
    vm = world.completed_vm("pooler-a")
    world.provider.raises("destroy", SystemExit(), always=True)  # type: ignore[arg-type]
    with pytest.raises(SystemExit):
        destroy.run(world.context, vm, POOL, "dead")
    world.provider.raises("destroy")
    assert destroy.run(world.context, vm, POOL, "other") == "busy"
    set_right(world)
    assert world.due(Step.DESTROY) == [vm]
    assert destroy.run(world.context, vm, POOL, "other") == "destroyed"


@pytest.mark.parametrize("attempts", [1, 5])
def test_a_postponed_destruction_waits_for_as_long_as_it_should_and_no_longer(world: PoolWorld, attempts: int) -> None:
    world.pools = [pool(size=0)]
    vm, pause = world.completed_vm("pooler-a"), LEASE * 2 ** (attempts - 1)
    world.client.hset(keys.work(vm.encode()), "destroys", attempts - 1)
    world.provider.raises("destroy", MISSING)
    with pytest.raises(ProviderError):
        destroy.run(world.context, vm, POOL, "task")
    world.now += pause - 1
    assert world.due(Step.DESTROY) == []
    world.now -= pause - 1
    set_right(world)
    assert world.due(Step.DESTROY) == [vm]


def test_an_entry_that_was_first_seen_later_than_now_was_first_seen_now(world: PoolWorld) -> None:
    world.provider.has("pooler-stray")
    world.inspect()
    set_right(world)
    world.inspect()
    for _, score in world.client.zrange(keys.first_seen(Queue.DISCOVERED, POOL), 0, -1, withscores=True):
        assert score <= world.now


def test_a_failed_clone_of_a_holder_that_was_ahead_is_reported(world: PoolWorld) -> None:
    [vm] = world.clones()
    die(world, vm)
    assert not world.fail(vm, RESET, "other/0"), "another worker holds it"
    set_right(world)
    assert world.fail(vm, RESET, "other/0")
    assert Queue.PENDING not in world.queues_of(vm)
    assert clone.CloneFailure.of(RESET).error_class == world.dead_letters("clone")[0]["error_class"]
