"""A pool whose ready VMs are replaced again and again is a reason of health, with the last error."""

from typing import Any

import pytest

from tests.support.pool_world import MINUTE, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.jobs.health import check
from vmpooler_tasks.model.health.explanation import HealthReason, explain
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.providers import Readiness


def reason(world: PoolWorld) -> HealthReason | None:
    report = check.run(world.db, world.settings, world.clock, forced=True)
    assert report is not None
    found = [one for one in report.assessment.reasons if one.code == ReasonCode.RECYCLED_REPEATEDLY]
    return found[0] if found else None


def turn(world: PoolWorld, seconds: float = 30) -> None:
    world.now += seconds
    world.round()


def test_a_template_that_sets_no_hostname_is_named_with_the_last_name(world: PoolWorld) -> None:
    world.pools = [pool(size=1)]
    world.provider.before("find", lambda vm: world.provider.has(vm, hostname="localhost"))
    seen = []
    for _ in range(20):
        turn(world)
        seen.append(reason(world))
    assert seen[:4] == [None] * 4, "one or two may be replaced"
    found = seen[-1]
    assert found is not None
    assert (found.pool, found.severity.name, found.measured > found.threshold) == (POOL, "DEGRADED", True)
    assert found.error is not None
    assert found.error.endswith("has mismatched hostname localhost")
    assert world.dead_letters("ready") == []
    text, _ = explain(found)
    assert text.startswith(f"{found.measured:g} ready VMs of {POOL} were replaced in half an hour, more than 2. Last")


def test_it_ends_half_an_hour_after_the_last_one(world: PoolWorld) -> None:
    world.pools = [pool(size=1)]
    world.provider.before("find", lambda vm: world.provider.has(vm, hostname="localhost"))
    for _ in range(20):
        turn(world)
    assert reason(world)
    world.provider.before("find", world.provider.has)
    turn(world, 31 * MINUTE)
    assert reason(world) is None


def test_vms_that_fail_their_ready_check_count(world: PoolWorld) -> None:
    world.pools = [pool(size=1)]
    world.config["vm_checktime"] = 0
    for _ in range(6):
        turn(world)
        world.provider.readiness = {
            vm: Readiness(False, "no route to password=hunter2", "HostUnreachable") for vm in world.provider.machines
        }
    found = reason(world)
    assert found is not None
    assert found.error == "no route to password=[redacted]"


@pytest.mark.parametrize(("ttl", "is_reason"), [(0, True), (1, True), (5, False), (60, False)])
def test_vms_that_expire_count_where_they_live_for_minutes_only(world: PoolWorld, ttl: float, is_reason: bool) -> None:
    world.pools = [pool(size=1, ready_ttl=ttl)]
    for _ in range(12):
        turn(world, 2 * MINUTE)
    assert bool(reason(world)) is is_reason


def test_each_vm_of_a_pool_may_fail_once(world: PoolWorld) -> None:
    world.pools = [pool(size=5)]
    vms = [world.ready_vm(f"pooler-{number}", 120) for number in range(5)]
    world.provider.readiness = {vm: Readiness(False, "no route", "HostUnreachable") for vm in vms}
    world.round()
    assert reason(world) is None, "an outage of the network is no such reason"
    worse: dict[str, Any] = dict.fromkeys([world.ready_vm("pooler-6", 120)], Readiness(False, "no route", "X"))
    world.provider.readiness |= worse
    world.round()
    assert reason(world)


def test_beside_another_manager_there_is_no_such_reason(world: PoolWorld) -> None:
    world.client.zadd(f"vmpooler_tasks__recycled__{POOL}", {f"vm-{number}\nx": world.now for number in range(9)})
    assert reason(world)
    world.config["manage_pools"] = False
    assert reason(world) is None
