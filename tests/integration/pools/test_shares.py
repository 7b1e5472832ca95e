"""One pool with very many VMs gets its share of the workers, and leaves theirs to the other pools."""

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.jobs.inspection import checks, inspect
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import destroys

pytestmark = pytest.mark.both_servers


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=0)])


def plan(world: PoolWorld, *vms: str, maximum: int = 100) -> list[bytes]:
    names = [vm.encode() for vm in vms]
    return destroys.plan(world.db, POOL, names, now=world.now, until=world.now + 300, maximum=maximum)


def flood(world: PoolWorld, monkeypatch: pytest.MonkeyPatch, *, vms: int, share: int) -> None:
    """Put more VMs into completed than the pool may have destroyed at once."""
    monkeypatch.setattr(checks, "MAX_DESTROYS", share)
    for number in range(vms):
        world.completed_vm(f"pooler-{number}")


def test_no_destruction_is_planned_of_a_vm_that_left_completed_meanwhile(world: PoolWorld) -> None:
    world.completed_vm("pooler-a")
    assert plan(world, "pooler-a", "pooler-gone") == [b"pooler-a"]
    assert world.client.zrange(keys.DESTROYS, 0, -1) == [b"pooler-a"]


def test_a_pool_has_no_more_destructions_under_way_than_its_share(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood(world, monkeypatch, vms=8, share=3)
    first = world.inspect().work
    assert [work.vm for work in first] == ["pooler-0", "pooler-1", "pooler-2"]
    assert world.due(Step.DESTROY) == [], "they wait for a worker"
    world.deliver(first[1])
    assert world.due(Step.DESTROY) == ["pooler-3"], "one is done"
    world.now += 400
    assert len(world.due(Step.DESTROY)) == 3, "no worker came: they are planned again"


def test_the_share_spans_the_pages_of_one_inspection(world: PoolWorld) -> None:
    names = [f"pooler-{number:04}" for number in range(1200)]
    world.client.sadd(keys.queue(Queue.COMPLETED, POOL), *names)
    assert len(plan(world, *names, maximum=700)) == 700
    assert plan(world, *names, maximum=700) == []


def test_destructions_that_fail_leave_the_share_to_the_others(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood(world, monkeypatch, vms=4, share=2)
    world.provider.raises("destroy", PermanentProviderError("no permission"), always=True)
    for work in world.inspect().work:
        with pytest.raises(PermanentProviderError):
            world.deliver(work)
    assert world.due(Step.DESTROY) == ["pooler-2", "pooler-3"]


def test_a_slow_inspection_is_followed_by_a_rest_of_its_pool_alone(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pools = [pool(size=0), pool("other", size=0)]
    monkeypatch.setattr(inspect, "rest_seconds", lambda _: 60.0)
    assert not world.inspect().busy
    assert world.client.pttl(keys.check_lock(POOL)) > 12_000
    assert world.inspect().busy
    assert not world.inspect("other").busy


@pytest.mark.parametrize(("seconds", "rest"), [(0.1, 0), (2, 0), (7, 7), (500, 30)])
def test_the_rest_is_as_long_as_the_inspection(seconds: float, rest: float) -> None:
    assert inspect.rest_seconds(seconds) == rest
