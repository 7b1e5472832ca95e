"""Since when a pool is empty, and for which pools that is a reason."""

import pytest

from tests.support.health_checks import QUIET, check, reasons, sized
from tests.support.world import POOL, World, settings
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.pools import pauses


def test_an_empty_pool_degrades_after_the_grace_since_it_was_first_seen_empty(world: World) -> None:
    chosen = sized(full=1, empty=1, unused=0)
    world.vm(Queue.READY, "pooler-a", 60, pool="full")
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.now += 899
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.now += 1
    report = check(world, chosen)
    assert reasons(report) == [("empty_pool", "empty")]
    assert report.assessment.reasons[0].measured == 900
    world.vm(Queue.READY, "pooler-b", 0, pool="empty")
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.client.delete(keys.queue(Queue.READY, "empty"))
    world.now += 5000
    assert check(world, chosen).assessment.status is Status.HEALTHY, "the grace begins anew"


def test_a_paused_pool_counts_in_no_reason_about_empty_pools_and_a_resumed_one_counts_anew(world: World) -> None:
    chosen, trail = sized(paused=1, full=1), {"who": "olga", "action": "pause"}
    world.vm(Queue.READY, "pooler-a", 60, pool="full")
    check(world, chosen)
    pauses.pause(world.db, "paused", Pause(state=PauseState.PAUSED, since=world.now, who="olga", why=""), trail)
    world.now += 1000
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.client.delete(keys.queue(Queue.READY, "full"))
    check(world, chosen)
    world.now += 60
    assert reasons(check(world, chosen)) == [("all_pools_empty", None)], "of the pools that are not paused"
    world.vm(Queue.READY, "pooler-b", 0, pool="full")
    pauses.resume(world.db, "paused", trail)
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.now += 900
    assert reasons(check(world, chosen)) == [("empty_pool", "paused")]


def test_a_pool_whose_ready_queue_cannot_be_read_is_not_taken_for_an_empty_one(world: World) -> None:
    world.client.set(keys.queue(Queue.READY, POOL), "no set")
    check(world, sized(**{POOL: 5}))
    world.now += 1000
    assert reasons(check(world, sized(**{POOL: 5}))) == [("unreadable_keys", None)]


def test_the_size_that_was_set_through_the_api_counts(world: World) -> None:
    world.client.hset("vmpooler__config__poolsize", mapping={"on": "5", "off": "0"})
    chosen = sized(on=0, off=5)
    check(world, chosen)
    world.now += 1000
    assert reasons(check(world, chosen)) == [("all_pools_empty", None), ("empty_pool", "on")]


def test_without_configured_pools_the_registered_sizes_count(world: World) -> None:
    chosen = settings(pools=(), **QUIET)
    world.client.sadd("vmpooler__pools", "asked-for", "unused", "odd", "raised", "lowered", "unset")
    sizes = {"asked-for": "5", "unused": "0", "odd": "some", "raised": "0", "lowered": "5"}
    for pool, size in sizes.items():
        world.client.hset(f"vmpooler__pool__{pool}", "size", size)
    world.client.hset("vmpooler__config__poolsize", mapping={"raised": "2", "lowered": "0"})
    check(world, chosen)
    world.now += 1000
    assert reasons(check(world, chosen)) == [
        ("all_pools_empty", None),
        ("empty_pool", "asked-for"),
        ("empty_pool", "raised"),
    ]


def test_a_registered_size_of_the_wrong_type_is_named(world: World, caplog: pytest.LogCaptureFixture) -> None:
    chosen = settings(pools=(), **QUIET)
    for index in range(20):
        world.client.sadd("vmpooler__pools", f"pool-{index}")
        world.client.hset(f"vmpooler__pool__pool-{index}", "size", "5")
    world.client.set("vmpooler__pool__pool-7", "no hash")
    check(world, chosen)
    assert (
        "[!] [health] Error checking 'vmpooler__pool__pool-7': it is of another type, or holds other data"
        in caplog.messages
    )
    world.now += 1000
    empty = {pool for code, pool in reasons(check(world, chosen)) if code == "empty_pool"}
    assert empty == {f"pool-{index}" for index in range(20)} - {"pool-7"}


@pytest.mark.parametrize("empty_since", [f'{{"{POOL}": "soon"}}', f'{{"{POOL}": null}}', "[]", "5", "[" * 100_000])
def test_when_a_pool_became_empty_counts_from_now_if_it_cannot_be_read(world: World, empty_since: str) -> None:
    world.client.hset(keys.HEALTH_STATE, "empty_since", empty_since)
    chosen = sized(**{POOL: 5})
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.now += 900
    assert reasons(check(world, chosen)) == [("all_pools_empty", None), ("empty_pool", POOL)]


def test_a_pool_that_a_clock_saw_empty_later_than_now_counts_as_empty_from_now(world: World) -> None:
    chosen = sized(full=1, empty=1)
    world.vm(Queue.READY, "pooler-a", -3600, pool="full")
    world.now += 3600
    check(world, chosen)
    world.now -= 3600
    check(world, chosen)
    world.now += 900
    assert ("empty_pool", "empty") in reasons(check(world, chosen))
