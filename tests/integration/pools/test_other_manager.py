"""Another pool manager is detected by what it writes. Until it is gone, VMPooler's keys stay as they are."""

import time
from collections.abc import Callable

import pytest

from tests.support.health_checks import reasons_by_code
from tests.support.manager_watch import COUNTER, INTERVAL, WatchedWorld, counts, until_alone
from tests.support.pool_world import pool
from tests.support.world import POOL
from vmpooler_tasks.jobs.pools.overview import overview
from vmpooler_tasks.model.health.explanation import explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.both_servers

REQUEST_COUNTER, BOOTS = "vmpooler__tasks__ondemandclone", "vmpooler__lastboot"


@pytest.fixture
def world(db: Database) -> WatchedWorld:
    return WatchedWorld(db, now=time.time(), config={"health_check_enabled": True})


# --- the watch at the start -----------------------------------------------------------------------------------------


def test_a_start_watches_for_two_check_intervals(world: WatchedWorld) -> None:
    assert [world.observe().state for _ in range(3)] == ["watching", "watching", "alone"]
    assert [world.observe(4.9).state for _ in range(3)] == ["alone"] * 3


def test_no_clone_starts_before_the_watch_has_ended(world: WatchedWorld) -> None:
    world.observe()
    assert world.clones() == []
    assert not world.client.exists(COUNTER, keys.POOL_SLOTS.key)
    world.observe()
    world.observe()
    assert len(world.clones()) == 2
    assert world.slots() == 2


@pytest.mark.parametrize("state", ["watching", "other"])
def test_a_watch_that_started_while_the_clock_was_ahead_does_not_last_for_that_hour(
    world: WatchedWorld, state: str
) -> None:
    world.now += 3600
    world.observe()
    if state == "other":
        for vm in ("pooler-a", "pooler-b"):
            world.others_vm(vm)
            world.observe()
    assert world.observe().state == state
    world.now -= 3600
    assert world.observe().state == "watching"
    assert len(until_alone(world)) < 40


def test_a_restart_does_not_watch_again_and_a_long_pause_does(world: WatchedWorld) -> None:
    world.watch_ends()
    assert world.observe(100).is_alone, "a rolling restart must not stop the clones"
    assert [world.observe(seconds).state for seconds in (200, 5, 5)] == ["watching", "watching", "alone"]


@pytest.mark.parametrize("left_behind", [("7", "3"), ("-7", "-1"), ("x", "1"), ("0", "5"), (" 4 ", "nan")])
def test_counters_that_a_killed_manager_left_behind_cost_one_watch(
    world: WatchedWorld, left_behind: tuple[str, str]
) -> None:
    for counter, value in zip((COUNTER, REQUEST_COUNTER), left_behind, strict=True):
        world.client.set(counter, value)
    first, second, last = world.observe(), world.observe(), world.observe()
    assert (first.state, second.state, last.state) == ("watching", "watching", "alone")
    assert {one.key: one.right for one in last.corrected} == {
        key: "0" for key, value in zip((COUNTER, REQUEST_COUNTER), left_behind, strict=True) if value != "0"
    }
    assert (world.client.get(COUNTER), world.client.get(REQUEST_COUNTER)) == (b"0", b"0")
    assert "other_manager" not in reasons_by_code(world)


def test_the_counters_of_our_own_clones_are_right_after_the_watch(world: WatchedWorld) -> None:
    started = len(world.clones())
    world.client.set(COUNTER, 9)
    world.watch_ends()
    assert world.client.get(COUNTER) == str(started).encode()


def test_clones_that_a_silent_manager_still_makes_stay_counted(world: WatchedWorld) -> None:
    """It subtracts each of them at its end: without them its counter would fall below 0."""
    world.client.set(COUNTER, 5)
    world.client.set(REQUEST_COUNTER, 5)
    vms = [world.others_vm(f"pooler-{number}", age=30) for number in range(2)]
    ordered = world.others_vm("pooler-ordered", age=30, request_id="request")
    world.others_vm("pooler-cloned", age=30, clone_time="12.0")
    world.watch_ends()
    assert (world.client.get(COUNTER), world.client.get(REQUEST_COUNTER)) == (b"2", b"1")
    world.pools = [pool(size=6)]
    own = world.clones()
    assert world.client.get(COUNTER) == str(2 + len(own)).encode()
    for vm in (*vms, ordered):  # it was killed: their time is up
        world.client.srem(keys.queue(Queue.PENDING, POOL), vm)
    world.observe()
    assert world.client.get(COUNTER) == str(len(own)).encode()
    assert world.client.get(REQUEST_COUNTER) == b"0"


def test_the_overview_says_until_when_no_clone_starts(world: WatchedWorld) -> None:
    world.observe()
    until = iso_utc(world.now + 2 * INTERVAL)
    _, [row] = overview(world.db, world.settings, world.now)
    assert row.state == "stalled"
    assert row.why.startswith(f"no clone starts before {until}: the workers watch for another pool manager first")
    world.observe()
    world.observe()
    _, [row] = overview(world.db, world.settings, world.now)
    assert "watch" not in row.why


# --- sightings ------------------------------------------------------------------------------------------------------


def counts_for_requests(world: WatchedWorld, number: int) -> None:
    world.client.decr(REQUEST_COUNTER)


def clones_quickly(world: WatchedWorld, number: int) -> None:
    world.others_vm(f"pooler-quick-{number}", clone_time="0.2")


def boots_quickly(world: WatchedWorld, number: int) -> None:
    world.client.hset(BOOTS, "a-pool-of-its-own", f"2024-01-15 10:30:{number:02} +0000")


SIGNS = [counts, counts_for_requests, clones_quickly, boots_quickly]


@pytest.mark.parametrize("act", SIGNS)
@pytest.mark.parametrize("works_already", [True, False])
def test_whatever_another_manager_does_twice_reveals_it(
    world: WatchedWorld, act: Callable[[WatchedWorld, int], None], works_already: bool
) -> None:
    if works_already:
        world.watch_ends()
    else:
        world.observe()
    act(world, 1)
    assert world.observe().state == "watching", "one sighting"
    assert world.clones() == []
    act(world, 2)
    seen = world.observe()
    assert (seen.state, bool(seen.evidence)) == ("other", True)
    assert world.clones() == []
    reason = reasons_by_code(world)["other_manager"]
    assert (reason.severity, reason.measured) == (Status.DEGRADED, 2)
    assert explain(reason) == (
        f"another pool manager uses this Redis: these workers do nothing. Last seen: {seen.evidence}",
        "stop VMPooler's manager, or set manage_pools: false here",
    )


def test_one_sighting_costs_one_watch(world: WatchedWorld) -> None:
    world.watch_ends()
    world.client.mset({COUNTER: 7, REQUEST_COUNTER: 3})
    assert until_alone(world) == ["watching", "watching", "alone"]
    assert (world.client.get(COUNTER), world.client.get(REQUEST_COUNTER)) == (b"0", b"0")
    assert "other_manager" not in reasons_by_code(world)


def test_a_second_sighting_soon_after_the_watch_proves_another_manager(world: WatchedWorld) -> None:
    world.watch_ends()
    counts(world, 1)
    until_alone(world)
    counts(world, 2)
    assert world.observe(60).state == "other"


def test_it_is_gone_when_it_was_quiet_for_two_minutes_and_its_counter_is_corrected_then(world: WatchedWorld) -> None:
    world.watch_ends()
    for number in range(2):
        counts(world, number)
        world.observe()
    assert [world.observe(40).state for _ in range(3)] == ["other", "other", "alone"]
    assert world.client.get(COUNTER) == b"0"
    assert "other_manager" not in reasons_by_code(world)


def test_what_our_own_workers_do_is_no_sighting(world: WatchedWorld) -> None:
    world.watch_ends()
    world.provider.without_address = False
    for _ in range(6):
        world.round()
        assert world.observe().is_alone
        if ready := world.names_in(Queue.READY):
            world.check_out(min(ready))
    assert world.client.hget(BOOTS, POOL)


def test_a_vm_of_ours_that_waits_for_its_readiness_is_no_sighting(world: WatchedWorld) -> None:
    world.watch_ends()
    world.provider.default_readiness = type(world.provider.default_readiness)(False, "booting", "Timeout")
    vms = world.clones()
    assert [world.clone(vm) for vm in vms] == ["pending", "pending"]
    assert world.observe().is_alone
    assert world.slots() == 0


def test_a_vm_whose_clone_is_old_is_no_sighting(world: WatchedWorld) -> None:
    world.watch_ends()
    for number in range(3):
        world.others_vm(f"pooler-old-{number}", age=3600)
        assert world.observe().is_alone


# --- beside it ------------------------------------------------------------------------------------------------------


def test_a_counter_that_another_manager_changed_is_not_overwritten(world: WatchedWorld) -> None:
    """Its limit of 10 clones became 20, and its counter fell below 0."""
    world.watch_ends()
    first, second = world.clones()
    world.client.set(COUNTER, 0)  # its start
    world.client.incrby(COUNTER, 10)
    assert world.clone(first) == "ready"
    assert world.client.get(COUNTER) == b"10"
    world.observe()
    assert world.clone(second) == "ready"
    for _ in range(10):
        world.client.decr(COUNTER)
        world.observe()
    assert world.client.get(COUNTER) == b"0"
    world.observe(60)
    assert world.observe(61).is_alone
    assert world.slots() == 0


def test_where_pools_are_not_managed_other_managers_are_no_reason(world: WatchedWorld) -> None:
    for number in range(3):
        counts(world, number)
        world.observe()
    assert "other_manager" in reasons_by_code(world)
    world.config["manage_pools"] = False
    assert "other_manager" not in reasons_by_code(world)
