"""Another pool manager on the same Redis is detected by a counter that only one may write. Health reports it."""

import json
from collections.abc import Iterator

import pytest
from celery import Celery

from tests.support.pool_world import PoolWorld, pool
from tests.support.servers import TestServer
from tests.support.world import NOW, POOL
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.model.health.reasons import HealthReason, explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import breakers, other_manager
from vmpooler_tasks.store.pools.breakers import BreakerLimits, CallKind
from vmpooler_tasks.tasks import other_manager as tasks_other_manager
from vmpooler_tasks.tasks import pools
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.celery.configuration import install_transports
from vmpooler_tasks.tasks.other_manager import OtherManagerGuard

pytestmark = pytest.mark.both_servers

COUNTER = "vmpooler__tasks__clone"


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, config={"health_check_enabled": True})


def reasons(world: PoolWorld) -> dict[str, HealthReason]:
    report = health_check.run(world.db, world.settings, world.clock)
    assert report is not None
    stored = {one["code"] for one in json.loads(world.client.hget("vmpooler__health", "reasons"))}
    assert stored == {one.code for one in report.assessment.reasons}
    return {one.code: one for one in report.assessment.reasons}


def test_a_counter_that_is_right_is_nobodys(world: PoolWorld) -> None:
    world.clones()
    for _ in range(3):
        assert not other_manager.correct_counters(world.db)
    assert not world.client.exists(keys.OTHER_MANAGER)


def test_a_counter_that_was_never_written_is_nobodys(world: PoolWorld) -> None:
    assert not other_manager.correct_counters(world.db)


@pytest.mark.parametrize("left_behind", ["0", "7", "-3", "x"])
def test_a_counter_that_was_left_behind_is_put_right_and_nothing_is_said(world: PoolWorld, left_behind: str) -> None:
    started = len(world.clones())
    world.client.set(COUNTER, left_behind)
    assert not other_manager.correct_counters(world.db)
    assert world.client.get(COUNTER) == str(started).encode()
    assert other_manager.recent_sightings(world.db) == 0
    assert "other_manager" not in reasons(world)
    assert not other_manager.correct_counters(world.db), "and nobody changed it since"


def test_a_counter_that_is_changed_twice_is_another_managers(world: PoolWorld) -> None:
    for _ in range(2):
        world.client.incr(COUNTER)
        seen = other_manager.correct_counters(world.db)
    assert seen
    assert world.client.get(COUNTER) == b"0"
    reason = reasons(world)["other_manager"]
    assert (reason.severity, reason.measured) == (Status.DEGRADED, 2)
    assert explain(reason) == (
        "another pool manager uses this Redis",
        "stop VMPooler's manager, or set manage_pools: false here",
    )
    assert 0 < world.client.ttl(keys.OTHER_MANAGER) <= 120


def test_it_is_forgotten_when_it_has_stopped(world: PoolWorld) -> None:
    for _ in range(2):
        world.client.incr(COUNTER)
        other_manager.correct_counters(world.db)
    assert other_manager.correct_counters(world.db), "it did nothing since the last correction, but it did lately"
    assert "other_manager" in reasons(world)
    world.client.delete(keys.OTHER_MANAGER)  # as it expires after two minutes
    assert not other_manager.correct_counters(world.db)
    assert "other_manager" not in reasons(world)


def test_where_pools_are_not_managed_other_managers_are_no_reason(world: PoolWorld) -> None:
    for _ in range(3):
        world.client.incr(COUNTER)
        other_manager.correct_counters(world.db)
    world.config["manage_pools"] = False
    assert "other_manager" not in reasons(world)


@pytest.fixture
def tasks(world: PoolWorld, server: TestServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[PoolWorld]:
    """The tasks themselves run here, on this world, and send their messages to its server."""
    install_transports()
    with Celery("tests", broker=server.url) as app:
        monkeypatch.setattr(pools, "settings", lambda: world.settings)
        monkeypatch.setattr(pools, "pool_context", lambda: world.context)
        monkeypatch.setattr(tasks_other_manager, "database", lambda: world.db)
        monkeypatch.setattr(pools, "guard", OtherManagerGuard())
        app.set_current()
        yield world


def sent(world: PoolWorld) -> int:
    return int(world.client.llen(names.CHECK_QUEUE))


def test_check_pools_does_nothing_while_another_manager_is_at_work(
    tasks: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    tasks.client.incr(COUNTER)
    assert pools.check_pools.run() == "1 pools"
    assert sent(tasks) == 1
    tasks.client.incr(COUNTER)
    assert pools.check_pools.run() == "another pool manager is at work"
    assert sent(tasks) == 1, "nothing more"
    for task, kwargs in (
        (pools.check_pool, {"pool": POOL}),
        (pools.process_ondemand_requests, {}),
        (pools.clone_vm, {"vm": "pooler-a", "pool": POOL}),
        (pools.destroy_vm, {"vm": "pooler-a", "pool": POOL}),
    ):
        assert task(**kwargs) == "another pool manager is at work"
    assert pools.check_pools.run() == "another pool manager is at work", "it was, lately"
    (line,) = caplog.messages  # logged once
    assert line.startswith("[!] [pools] Another pool manager is at work on this Redis")
    assert line.endswith("these workers do nothing until it has been quiet for 120 seconds")
    tasks.client.delete(keys.OTHER_MANAGER)  # as it expires
    assert pools.check_pools.run() == "1 pools"
    assert sent(tasks) == 2


def test_the_counter_of_clones_for_requests_reveals_another_manager_too(world: PoolWorld) -> None:
    for _ in range(2):
        world.client.incr(keys.ACTIVE_ONDEMAND_CLONES)
        seen = other_manager.correct_counters(world.db)
    assert seen


# --- a suspended provider ------------------------------------------------------------------------------------------


def test_a_provider_that_fails_again_and_again_is_a_reason_with_its_name(world: PoolWorld) -> None:
    world.pools, world.config["breaker_failures"] = [pool(size=3)], 3
    world.provider.raises("create", TransientProviderError("down"), always=True)
    for vm in world.clones():
        with pytest.raises(TransientProviderError):
            world.clone(vm, f"task-{vm}")
        world.fail(vm, TransientProviderError("down"), f"task-{vm}")
    reason = reasons(world)["breaker_open"]
    assert (reason.severity, reason.provider, reason.measured, reason.threshold) == (Status.UNHEALTHY, "scripted", 3, 3)
    found, remedy = explain(reason, world.now)
    text = "provider scripted is suspended after 3 failures in a row. Last error 0 s ago: down. Next attempt in 30 s"
    assert (found, reason.error) == (text, "down")
    assert "`vmpooler-tasks pools retry --provider scripted`" in remedy


def test_clones_that_fail_for_good_are_their_pools_fault_and_not_the_providers(world: PoolWorld) -> None:
    world.pools, world.config["breaker_failures"] = [pool(size=3)], 3
    for vm in world.clones():
        world.fail(vm, PermanentProviderError("template not found"))
    found = reasons(world)
    assert "breaker_open" not in found
    reason = found["pool_broken"]
    assert (reason.severity, reason.pool, reason.measured, reason.threshold) == (Status.DEGRADED, POOL, 3, 3)
    assert POOL in explain(reason)[0]


def test_a_provider_that_works_again_is_no_reason_any_more(world: PoolWorld) -> None:
    world.pools = [pool(size=1)]
    breakers.count_failure(world.db, "scripted", CallKind.INVENTORY, BreakerLimits(1, 30), now=NOW, error="down")
    assert "breaker_open" in reasons(world)
    world.now += 31
    [vm] = world.clones()
    assert world.clone(vm) == "ready"
    assert "breaker_open" not in reasons(world)
