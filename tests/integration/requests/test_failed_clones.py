"""Clones of a request that fail are tried again, or fail the request."""

import logging
from typing import Any

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.request_world import (
    HASH,
    ID,
    ITEMS,
    MISSING,
    OTHER,
    PROCESSING,
    RESET,
    WAITING,
    clones_of,
    delivered,
    members,
    run,
    status,
    submit,
)
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.requests import parse_requested
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import BreakerLimits, CallKind
from vmpooler_tasks.store.requests import fulfilment

pytestmark = pytest.mark.both_servers


def test_a_request_fails_after_max_vm_retries_failed_clones(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    world.config = {"max_vm_retries": 2, "breaker_failures": 100}
    world.provider.raises("create", RESET, always=True)
    submit(world, f"centos:{POOL}:1")
    for retries in (1, 2):
        [work] = clones_of(world)
        world.deliver(work)
        assert world.client.hget(HASH, "retry_count") == b"%d" % retries
        assert status(world) == (None, None)
        assert members(world, ITEMS) == {f"centos:{POOL}:1:{ID}": 1}
        assert f"[+] [{POOL}] Request {ID} will be retried (attempt {retries}/2)" in caplog.messages
    [work] = clones_of(world)
    world.deliver(work)
    assert status(world) == ("failed", "Max retry attempts exceeded")
    assert clones_of(world) == []
    assert sorted(entry["retry_count"] for entry in world.dead_letters("clone")) == [0, 1, 2]
    assert {entry["request_id"] for entry in world.dead_letters("clone")} == {ID}
    assert {entry["pool_alias"] for entry in world.dead_letters("clone")} == {"centos"}
    assert world.request_slots() == 0


def test_a_retry_that_succeeds_fills_the_request(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:2")
    [one, two] = clones_of(world)
    world.provider.raises("create", *[RESET] * 3)
    world.deliver(one)
    assert world.deliver(two) == "delivered"
    [retry] = clones_of(world)
    assert retry.vm not in (one.vm, two.vm)
    assert world.deliver(retry) == "delivered"
    assert status(world) == ("ready", None)


def test_two_clones_of_one_request_that_fail_at_once_are_both_made_again(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:3")
    started = clones_of(world)
    world.provider.raises("create", *[RESET] * 9)
    for work in started:
        world.deliver(work)
    again = clones_of(world)
    assert len(again) == 3
    assert [world.deliver(work) for work in again] == ["delivered"] * 3
    assert status(world) == ("ready", None)


def test_a_failed_clone_adds_to_an_equal_item_in_the_queue(
    world: PoolWorld,
) -> None:
    world.config = {"ondemand_clone_limit": 1}
    submit(world, f"centos:{POOL}:2")
    [work] = clones_of(world)
    assert members(world, ITEMS) == {f"centos:{POOL}:1:{ID}": world.now}
    world.provider.raises("create", *[RESET] * 3)
    world.deliver(work)
    for _ in range(2):
        [work] = clones_of(world)
        assert world.deliver(work) == "delivered"
    assert status(world) == ("ready", None)


def test_what_is_left_of_an_item_is_not_taken_for_a_retry(world: PoolWorld) -> None:
    world.config = {"ondemand_clone_limit": 2}
    submit(world, f"centos:{POOL}:4")
    first = clones_of(world)
    world.provider.raises("create", *[RESET] * 6)
    for work in first:
        world.deliver(work)
    while started := clones_of(world):
        for work in started:
            assert world.deliver(work) == "delivered"
    assert status(world) == ("ready", None)


@pytest.mark.parametrize("error", [MISSING, PermanentProviderError("no such network")])
def test_a_permanent_error_fails_the_request_at_once(world: PoolWorld, error: Exception) -> None:
    submit(world, f"centos:{POOL}:2")
    [one, two] = clones_of(world)
    assert world.deliver(two) == "delivered"
    world.provider.raises("create", error)
    world.deliver(one)
    assert status(world) == ("failed", f"Configuration error: {error}")
    assert clones_of(world) == []
    assert world.names_in(Queue.COMPLETED) == {two.vm}
    assert members(world, ITEMS) == members(world, PROCESSING) == {}


def test_a_vm_that_never_boots_is_made_again(world: PoolWorld) -> None:
    world.config = {"ondemand_request_ttl": 60}
    world.provider.default_readiness = Readiness(False, "booting")
    submit(world, f"centos:{POOL}:1")
    [work] = run(world)
    world.deliver(work)
    world.now += 901
    assert "failed" in world.round()
    assert [entry["request_id"] for entry in world.dead_letters("pending")] == [ID]
    world.provider.default_readiness = Readiness(True)
    world.round()
    assert status(world) == ("ready", None)
    assert work.vm not in delivered(world)


def test_a_vm_that_vanished_before_it_booted_is_made_again(world: PoolWorld) -> None:
    world.config = {"ondemand_request_ttl": 60}
    world.provider.default_readiness = Readiness(False, "booting")
    submit(world, f"centos:{POOL}:1")
    [work] = run(world)
    world.deliver(work)
    world.provider.machines.clear()
    world.provider.pool_of.clear()
    world.now += 901
    world.provider.default_readiness = Readiness(True)
    world.round()
    assert status(world) == ("ready", None)
    assert world.dead_letters("pending") == []


def test_requests_for_a_suspended_provider_wait(world: PoolWorld) -> None:
    world.pools = [pool(size=0), pool(OTHER, size=0, provider="other")]
    world.providers = {"other": world.provider}
    breakers.count_failure(world.db, "scripted", CallKind.INVENTORY, BreakerLimits(1, 30), now=world.now)
    submit(world, f"centos:{POOL}:1")
    submit(world, f"ubuntu:{OTHER}:1", "req-2")
    assert [work.request_id for work in run(world)] == ["req-2"]
    assert members(world, ITEMS) == {f"centos:{POOL}:1:{ID}": world.now}
    world.now += 31
    assert [work.request_id for work in run(world)] == [ID]


def test_a_clone_for_a_request_whose_worker_died_is_handed_out_again(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1")
    run(world)
    world.now += 5 * 60
    [work] = world.reap()
    assert work.request_id
    assert world.deliver(work) == "delivered"
    assert status(world) == ("ready", None)


@pytest.mark.parametrize(
    "item", ["nonsense", f"centos:{POOL}:x:{ID}", "centos:nowhere:1:req-1", f"centos:{POOL}:0:{ID}"]
)
def test_an_item_that_cannot_be_started_is_dropped(world: PoolWorld, item: str) -> None:
    world.client.zadd(ITEMS, {item: 1})
    submit(world, f"centos:{POOL}:1")
    assert len(run(world)) == 1
    assert members(world, ITEMS) == {}


def test_an_item_of_a_request_that_is_gone_is_dropped(world: PoolWorld) -> None:
    world.client.zadd(ITEMS, {f"centos:{POOL}:3:gone": 1})
    assert run(world) == []
    assert members(world, ITEMS) == {}


def test_an_item_of_a_billion_takes_no_more_time_than_another(world: PoolWorld) -> None:
    world.client.hset(HASH, "requested", f"centos:{POOL}:{10**9}")
    world.client.zadd(PROCESSING, {ID: world.now})
    world.client.zadd(ITEMS, {f"centos:{POOL}:{10**9}:{ID}": 1})
    assert len(run(world)) == 10
    assert members(world, ITEMS) == {f"centos:{POOL}:{10**9 - 10}:{ID}": 1}


def test_a_second_round_starts_nothing_twice(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:2")
    assert len(run(world)) == 2
    assert run(world) == []
    assert len(world.names_in(Queue.PENDING)) == 2


def test_a_request_is_made_as_the_api_server_makes_it(world: PoolWorld) -> None:
    fulfilment.create(world.db, ID, parse_requested(f"centos:{POOL}:1"), world.now + 0.7)
    assert members(world, WAITING) == {ID: world.now}
    [work] = run(world)
    world.deliver(work)
    assert status(world) == ("ready", None)


def test_the_log_follows_a_request(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    submit(world, f"centos:{POOL}:1")
    submit(world, "no\nsense", "req-2")
    [work] = run(world)
    world.deliver(work)
    logged: list[Any] = [message for message in caplog.messages if "req-" in message or "equest" in message]
    assert logged == [
        f"[*] Request '{ID}' is being filled: centos:{POOL}:1",
        "[!] Request 'req-2' has failed: it cannot be read: 'no\\nsense' is not alias:pool:count",
        f"[>] [{POOL}] '{work.vm}' is 'ready' for request '{ID}'",
        f"[>] Request '{ID}' is filled",
    ]


def test_a_vm_that_a_request_lost_is_replaced(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    """A reset of the pool, a purge or a person removed it from pending."""
    submit(world, f"centos:{POOL}:3")
    first, second, third = run(world)
    assert world.deliver(first) == "delivered"
    world.client.sadd("vmpooler__poolreset", POOL)
    world.inspect()
    assert world.names_in(Queue.PENDING) == set()
    assert run(world) == []
    assert caplog.messages[-1] == f"[!] Request '{ID}' lost 2 VMs: new clones are queued"
    again = run(world)
    assert len(again) == 2
    assert {work.vm for work in again}.isdisjoint({second.vm, third.vm})
    assert run(world) == [], "nothing is missing any more"
    assert {world.deliver(work) for work in again} == {"delivered"}
    assert status(world)[0] == "ready"
    assert len(delivered(world)) == 3
