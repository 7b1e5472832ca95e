"""Failures count by pool: one pool that fails is suspended alone, several suspend the provider that they share."""

import json
from collections.abc import Iterator

import pytest

from tests.support.pool_world import HOUR, RESET, PoolWorld, pool
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.pools import overview
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import CallKind

pytestmark = pytest.mark.both_servers

ONE, TWO, THREE = POOLS = ("one", "two", "three")


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """Three pools of one provider. Three failures in a row are too many."""
    config = {"task_limit": 9, "breaker_failures": 3, "health_check_enabled": True}
    return PoolWorld(db, pools=[pool(name, size=9) for name in POOLS], config=config)


def suspended(world: PoolWorld) -> set[str]:
    providers = breakers.suspended_providers(world.db, ["scripted"])
    return {one.name for one in (*providers, *breakers.suspended_pools(world.db, POOLS))}


def fail(world: PoolWorld, name: str, count: int) -> None:
    """Let so many clones of the pool fail."""
    waiting = iter(sorted(world.names_in(Queue.PENDING, name)) or world.clones(name))
    world.provider.raises("create", RESET, always=True)
    for vm in [next(waiting) for _ in range(count)]:
        assert deliver(world, vm, name) == "TransientProviderError"
    world.provider.raises("create")


def deliver(world: PoolWorld, vm: str, name: str) -> str:
    return world.deliver(Work(Step.CLONE, vm, name))


def succeed(world: PoolWorld, name: str) -> None:
    [vm, *_] = sorted(world.names_in(Queue.PENDING, name)) or world.clones(name)
    assert deliver(world, vm, name) == "ready"


def take_back(world: PoolWorld, name: str) -> None:
    for vm in world.names_in(Queue.PENDING, name):
        assert deliver(world, vm, name) == "pool_suspended"


def reasons(world: PoolWorld) -> Iterator[tuple[str, str | None]]:
    health_check.run(world.db, world.settings, world.clock)
    for one in json.loads(world.client.hget("vmpooler__health", "reasons")):
        if one["code"] in {"breaker_open", "pool_broken"}:
            yield one["code"], one.get("provider") or one.get("pool")


def states(world: PoolWorld) -> list[str]:
    return [row.state for row in overview.overview(world.db, world.settings, world.now)[1]]


def test_one_pool_that_fails_is_suspended_alone_and_gives_its_slots_to_the_others(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    fail(world, ONE, 3)
    assert suspended(world) == {ONE}
    assert caplog.messages[-1] == "[!] [one] pool 'one' is suspended for 30 s after repeated failures"
    assert list(reasons(world)) == [("pool_broken", ONE)]
    assert states(world)[0] == "suspended"
    assert world.slots() == 6
    take_back(world, ONE)
    assert (world.slots(), world.names_in(Queue.PENDING, ONE)) == (0, set())
    assert world.clones(ONE) == []
    assert len(world.clones(TWO)) == 9
    succeed(world, TWO)
    assert suspended(world) == {ONE}, "the success of another pool says nothing of it"


def test_after_the_pause_one_clone_tries_the_pool(world: PoolWorld) -> None:
    fail(world, ONE, 3)
    take_back(world, ONE)
    world.now += 31
    assert len(world.clones(ONE)) == 1
    fail(world, ONE, 1)
    assert world.clones(ONE) == [], "the pause is longer"
    world.now += 61
    succeed(world, ONE)
    assert suspended(world) == set()
    assert len(world.clones(ONE)) == 8


def test_several_pools_that_fail_suspend_their_provider(world: PoolWorld) -> None:
    fail(world, ONE, 3)
    take_back(world, ONE)
    fail(world, TWO, 2)
    assert suspended(world) == {ONE}
    fail(world, TWO, 1)
    assert suspended(world) == {ONE, TWO, "scripted"}
    assert ("breaker_open", "scripted") in list(reasons(world))
    assert world.clones(THREE) == []
    world.now += 31
    succeed(world, THREE)
    assert suspended(world) == {ONE, TWO}, "the provider works: the two fail by themselves"


def test_pools_that_fail_between_successes_of_others_leave_the_provider_open(world: PoolWorld) -> None:
    world.config["task_limit"] = 100
    for name in (ONE, TWO, ONE, TWO):
        fail(world, name, 1 if breakers.suspended_pools(world.db, [name]) else 3)
        take_back(world, name)
        succeed(world, THREE)
        world.now += 301
    assert suspended(world) == {ONE, TWO}


def test_a_pool_whose_failures_are_old_does_not_count(world: PoolWorld) -> None:
    fail(world, ONE, 3)
    world.now += HOUR
    world.client.delete(keys.pool_breaker(ONE))
    fail(world, TWO, 3)
    assert suspended(world) == {TWO}


def test_failed_inventories_suspend_the_provider(world: PoolWorld) -> None:
    world.provider.raises("list", RESET, always=True)
    for _ in range(3):
        world.inspect(ONE)
    assert suspended(world) == {"scripted"}


def test_failed_checks_suspend_the_checks_of_their_pool_alone(world: PoolWorld) -> None:
    for name in POOLS:
        world.pending_vm(f"pooler-{name}", age=HOUR, name=name)
    world.provider.raises("ready", RESET, always=True)
    check_one, check_two, _ = (Work(Step.CHECK_PENDING, f"pooler-{name}", name) for name in POOLS)
    for _ in range(3):
        with pytest.raises(TransientProviderError):
            world.deliver(check_one)
    assert suspended(world) == {ONE}
    world.provider.raises("ready")
    assert world.deliver(check_two) == "ready"
    world.now += 31
    assert world.deliver(check_one) == "ready"
    assert suspended(world) == set()


def test_requests_for_a_suspended_pool_wait_for_its_trial(world: PoolWorld) -> None:
    fail(world, ONE, 3)
    take_back(world, ONE)
    world.client.zadd(keys.PENDING_ONDEMAND_CLONES, {"one:one:2:request": world.now})
    world.client.hset(keys.request(b"request"), mapping={"requested": "one:one:2"})
    assert fulfil.run(world.context) == []
    world.now += 31
    assert len(fulfil.run(world.context)) == 2


@pytest.mark.parametrize("seconds", [1, 31, 3_600])
def test_health_is_not_healthy_until_a_trial_succeeds(world: PoolWorld, seconds: float) -> None:
    fail(world, ONE, 3)
    fail(world, TWO, 3)
    world.now += 30 + seconds
    assert ("breaker_open", "scripted") in list(reasons(world))
    assert states(world) == ["suspended"] * 3


def test_a_suspension_that_no_clone_will_try_ends_when_the_provider_responds(world: PoolWorld) -> None:
    fail(world, ONE, 3)
    fail(world, TWO, 3)
    world.pools = [pool(name, size=0) for name in POOLS]
    world.now += 40
    world.inspect(ONE)
    assert suspended(world) == {ONE, TWO, "scripted"}, "a clone may still try it"
    world.now += 40
    world.provider.raises("list", RESET)
    world.inspect(ONE)
    assert suspended(world) == {ONE, TWO, "scripted"}
    world.inspect(ONE)
    assert suspended(world) == {TWO}
    world.inspect(TWO)
    assert suspended(world) == set()


def test_breaker_names_no_more_pools_than_suspend_the_provider(world: PoolWorld) -> None:
    limits = world.context.breaker_limits("scripted")
    for name in POOLS * limits.max_failures:
        breakers.count_failure(world.db, "scripted", CallKind.CHECK, limits, now=world.now, pool=name)
    named = {field for field in world.client.hkeys(keys.breaker("scripted")) if field.startswith(b"failing:")}
    assert named == {b"failing:checks:one", b"failing:checks:two"}
    assert suspended(world) == {"scripted", *POOLS}


def test_success_ends_the_failures_of_more_pools_than_one_command_of_lua_can_name(world: PoolWorld) -> None:
    failing = {f"failing:failures:pool{number}": repr(world.now) for number in range(9_000)}
    world.client.hset(keys.breaker("scripted"), mapping=failing)
    succeed(world, ONE)
    assert not world.client.exists(keys.breaker("scripted"))
