"""Work of the pool workers that stands still is a reason, whatever the cause."""

from typing import Any

import pytest

from tests.support.health_checks import check
from tests.support.manager_watch import forget_watch, see_other_manager
from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import TransientProviderError, WrongTypeError
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.model.health.explanation import HealthReason, explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.health import progress
from vmpooler_tasks.store.pools.breakers import CallKind

OTHER = "ubuntu-2004-x86_64"
DAY = 86400
SLACK = 10
"""Seconds by which the server's clock may move during a test: it counts here, and no test can stop it."""


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """Two pools whose inspections have run a while."""
    config = {"health_check_enabled": True, "health_check_interval": 1000 * DAY}
    own = PoolWorld(db, pools=[pool(), pool(OTHER)], config=config)
    for name in (POOL, OTHER):
        own.ready_vm(f"pooler-{name}", name=name)
        own.inspect(name)
        own.client.delete(keys.CLONES)
        own.client.delete(keys.queue(Queue.PENDING, name))
    fulfil.run(own.context)
    return own


def later(world: PoolWorld, seconds: float, *works: str) -> None:
    """Move the last ends of this work (of all work, if none is named) into the past: they are by the server's clock."""
    for name, value in world.client.hgetall(keys.PROGRESS).items():
        work = name.decode().removeprefix("since:")
        if not name.startswith(b"error:") and (not works or work in works):
            world.client.hset(keys.PROGRESS, name, float(value) - seconds)


def running_since_earlier(world: PoolWorld, seconds: float) -> None:
    """Move the starts of all work into the past, and leave its last ends where they are."""
    for name, value in world.client.hgetall(keys.PROGRESS).items():
        if name.startswith(b"since:"):
            world.client.hset(keys.PROGRESS, name, float(value) - seconds)


def about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=SLACK)


def reasons(world: PoolWorld) -> list[HealthReason]:
    return [one for one in check(world, world.settings).assessment.reasons if one.code.endswith(("_stalled", "_empty"))]


def found(world: PoolWorld) -> list[tuple[str, Status, str | None]]:
    return [(one.code, one.severity, one.pool) for one in reasons(world)]


def test_work_that_ends_again_and_again_is_no_reason(world: PoolWorld) -> None:
    later(world, 60 - SLACK)
    assert found(world) == []


def test_a_pool_that_is_not_inspected_degrades_and_no_inspection_at_all_is_unhealthy(world: PoolWorld) -> None:
    later(world, 70, progress.inspections_of(POOL))
    [reason] = reasons(world)
    assert (reason.code, reason.severity, reason.pool) == ("inspection_stalled", Status.DEGRADED, POOL)
    assert (reason.measured, reason.threshold) == (about(70), 60)
    later(world, 70, progress.inspections_of(OTHER))
    assert found(world) == [
        ("inspection_stalled", Status.UNHEALTHY, POOL),
        ("inspection_stalled", Status.UNHEALTHY, OTHER),
    ]
    world.inspect()
    world.inspect(OTHER)
    assert found(world) == []


def test_the_longer_of_a_minute_and_ten_intervals_counts(world: PoolWorld) -> None:
    world.config["check_loop_delay_min"] = 30
    later(world, 300 - SLACK)
    assert found(world) == []
    later(world, SLACK + 1)
    assert {code for code, *_ in found(world)} == {"inspection_stalled"}


def test_an_inspection_that_fails_again_and_again_names_its_last_error(world: PoolWorld) -> None:
    world.client.set(keys.queue(Queue.MIGRATING, POOL), "no set")
    with pytest.raises(WrongTypeError):
        world.inspect()
    world.provider.raises("list", TransientProviderError("no route to host, password=hunter2"), always=True)
    assert world.inspect(OTHER).error is not None
    later(world, 70)
    by_pool = {one.pool: one for one in reasons(world)}
    assert explain(by_pool[OTHER])[0].endswith("Last error: no route to host, password=[redacted]")
    assert (by_pool[POOL].error or "").startswith("A key in Redis has the wrong type: one of vmpooler__pending__")
    world.client.delete(keys.queue(Queue.MIGRATING, POOL))
    world.provider.raises("list")
    world.client.delete(keys.breaker("scripted"))
    world.inspect()
    assert [one.pool for one in reasons(world)] == [OTHER]
    world.inspect(OTHER)
    assert found(world) == []


def test_work_that_never_ended_is_late_from_the_first_check_that_expected_it(world: PoolWorld) -> None:
    world.client.delete(keys.PROGRESS)
    assert found(world) == []
    world.now += 60
    assert found(world) == []
    world.now += 1
    assert {code for code, *_ in found(world)} == {"inspection_stalled"}


def test_without_manage_pools_and_beside_another_manager_nothing_is_expected(world: PoolWorld) -> None:
    later(world, 1000)
    see_other_manager(world.client)
    assert found(world) == []
    forget_watch(world.client)
    world.config["manage_pools"] = False
    assert found(world) == []


# --- clones ----------------------------------------------------------------------------------------------------------


def test_clones_that_no_worker_takes_are_unhealthy_until_one_ends(world: PoolWorld) -> None:
    [vm] = world.clones()
    assert found(world) == []
    world.now += 61
    assert found(world) == [("clones_stalled", Status.UNHEALTHY, POOL)]
    assert world.clone(vm) == "ready"
    world.now += 61
    assert len(world.clones(OTHER)) == 1
    world.now += 61
    assert found(world) == [], "one has just ended"
    later(world, 70, progress.CLONES_WORK)
    assert found(world) == [("clones_stalled", Status.UNHEALTHY, OTHER)]


def test_a_clone_that_takes_long_is_no_reason_within_the_timeout_of_its_pool(world: PoolWorld) -> None:
    seen: list[Any] = []
    [vm], [waiting] = world.clones(), world.clones(OTHER)

    def look(_: str) -> None:
        for minutes in (14, 16):
            world.client.hset(keys.vm(vm.encode()), "clone", world.stamp(minutes * 60 + 30))
            seen.append(found(world))

    world.client.hset(keys.vm(waiting.encode()), "clone", world.stamp(600))
    world.provider.before("create", look)
    world.clone(vm)
    assert seen == [[], [("clones_stalled", Status.UNHEALTHY, POOL)]], "the other waits for it"


def test_a_failed_clone_has_ended_as_well(world: PoolWorld) -> None:
    [vm], [_] = world.clones(), world.clones(OTHER)
    world.now += 61
    assert len(found(world)) == 1
    world.fail(vm, TransientProviderError("down"))
    assert found(world) == []


def test_clones_of_a_suspended_provider_are_not_expected_to_end(world: PoolWorld) -> None:
    world.clones()
    world.now += 61
    world.client.hset(keys.breaker("scripted"), mapping={str(CallKind.CHECK): 9, "open_until": world.now + 60})
    assert [code for code, *_ in found(world)] == []


# --- on-demand requests ----------------------------------------------------------------------------------------------


def test_requests_that_nobody_processes_are_unhealthy_and_named(world: PoolWorld) -> None:
    later(world, 70, progress.REQUESTS_WORK)
    assert found(world) == [], "none waits"
    world.client.hset("vmpooler__odrequest__r1", "requested", f"{POOL}:{POOL}:1")
    world.client.zadd(keys.WAITING_REQUESTS, {"r1": world.now})
    [reason] = reasons(world)
    assert (reason.code, reason.severity, reason.key) == (
        "requests_stalled",
        Status.UNHEALTHY,
        "vmpooler__odrequest__r1",
    )
    fulfil.run(world.context)
    assert found(world) == []


def test_a_request_that_outlives_its_time_is_unhealthy_although_each_pass_ends_well(world: PoolWorld) -> None:
    world.client.hset("vmpooler__odrequest__old", "requested", f"{POOL}:{POOL}:1")
    world.client.set("vmpooler__odrequest__broken", "no hash")
    lifetime = world.settings.config.ondemand_request_ttl * 60
    world.client.zadd(keys.PROCESSING_REQUESTS, {"broken": 1, "old": world.now - lifetime - 60})
    later(world, 0, progress.REQUESTS_WORK)
    assert found(world) == [], "the next pass may end it"
    world.now += 1
    later(world, 0, progress.REQUESTS_WORK)
    [reason] = reasons(world)
    assert (reason.code, reason.measured, reason.key) == ("requests_stalled", 61, "vmpooler__odrequest__old")
    fulfil.run(world.context)
    assert found(world) == [], "the pass let it fail"


# --- empty pools, counted from the first inspection after the start --------------------------------------------------


def drain(world: PoolWorld) -> None:
    for name in (POOL, OTHER):
        world.client.delete(keys.queue(Queue.READY, name))


def test_pools_that_are_filled_for_the_first_time_have_a_minute_from_their_first_inspection(world: PoolWorld) -> None:
    drain(world)
    world.client.delete(keys.PROGRESS)
    found(world)
    world.now += 50
    assert found(world) == [], "nobody has inspected them"
    for name in (POOL, OTHER):
        progress.record_end(world.db, progress.inspections_of(name), 5)
    world.now += 50
    assert found(world) == []
    later(world, 60 - SLACK)
    assert found(world) == []
    running_since_earlier(world, 2 * SLACK)
    assert found(world) == [("all_pools_empty", Status.UNHEALTHY, None)]


def running_seconds(world: PoolWorld) -> float:
    return progress.read(world.db).running_seconds[progress.inspections_of(POOL)]


def test_a_restart_starts_the_minute_anew_and_a_worker_that_crashes_again_and_again_does_not(world: PoolWorld) -> None:
    work = progress.inspections_of(POOL)
    world.client.delete(keys.PROGRESS)
    progress.record_end(world.db, work, 5)
    later(world, 10)
    progress.record_end(world.db, work, 5)
    assert running_seconds(world) == about(10)
    later(world, 300)
    progress.record_end(world.db, work, 5)
    assert running_seconds(world) == about(310), "it ran for ten seconds: that was no start"
    later(world, 1)
    progress.record_end(world.db, work, 5)
    assert running_seconds(world) == about(311), "no gap"
    later(world, 20)
    progress.record_end(world.db, work, 5)
    assert running_seconds(world) == about(0), "a restart"


def test_a_progress_of_the_wrong_type_stops_no_work(world: PoolWorld) -> None:
    world.client.delete(keys.PROGRESS)
    world.client.set(keys.PROGRESS, "no hash")
    [vm] = world.clones()
    assert world.clone(vm) == "ready"
    fulfil.run(world.context)
    assert found(world) == []
