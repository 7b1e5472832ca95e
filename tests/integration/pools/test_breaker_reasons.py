"""Health names a provider and a pool that the circuit breaker suspends."""

import pytest

from tests.support.health_checks import reasons_by_code
from tests.support.pool_world import PoolWorld, pool
from tests.support.world import NOW, POOL
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.model.health.explanation import explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import BreakerLimits, CallKind

pytestmark = pytest.mark.both_servers


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, config={"health_check_enabled": True})


def test_a_provider_that_fails_again_and_again_is_a_reason_with_its_name(world: PoolWorld) -> None:
    world.pools, world.config["breaker_failures"] = [pool(size=3)], 3
    world.provider.raises("create", TransientProviderError("down"), always=True)
    for vm in world.clones():
        with pytest.raises(TransientProviderError):
            world.clone(vm, f"task-{vm}")
        world.fail(vm, TransientProviderError("down"), f"task-{vm}")
    reason = reasons_by_code(world)["breaker_open"]
    assert (reason.severity, reason.provider, reason.measured, reason.threshold) == (Status.UNHEALTHY, "scripted", 3, 3)
    found, remedy = explain(reason, world.now)
    text = "provider scripted is suspended after 3 failures in a row. Last error 0 s ago: down. Next attempt in 30 s"
    assert (found, reason.error) == (text, "down")
    assert "`vmpooler-tasks pools retry --provider scripted`" in remedy


def test_clones_that_fail_for_good_are_their_pools_fault_and_not_the_providers(world: PoolWorld) -> None:
    world.pools, world.config["breaker_failures"] = [pool(size=3)], 3
    for vm in world.clones():
        world.fail(vm, PermanentProviderError("template not found"))
    found = reasons_by_code(world)
    assert "breaker_open" not in found
    reason = found["pool_broken"]
    assert (reason.severity, reason.pool, reason.measured, reason.threshold) == (Status.DEGRADED, POOL, 3, 3)
    assert POOL in explain(reason)[0]


def test_a_provider_that_works_again_is_no_reason_any_more(world: PoolWorld) -> None:
    world.pools = [pool(size=1)]
    breakers.count_failure(world.db, "scripted", CallKind.INVENTORY, BreakerLimits(1, 30), now=NOW, error="down")
    assert "breaker_open" in reasons_by_code(world)
    world.now += 31
    [vm] = world.clones()
    assert world.clone(vm) == "ready"
    assert "breaker_open" not in reasons_by_code(world)
