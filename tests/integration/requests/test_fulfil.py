"""On-demand requests are accepted and filled, or fail with a reason."""

import logging
from typing import Any

import pytest

from tests.support.pool_world import HOUR, MINUTE, WEEK, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.requests import fulfil as job
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.requests import parse_requested
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import BreakerLimits, CallKind
from vmpooler_tasks.store.requests import fulfilment

pytestmark = pytest.mark.both_servers

ID = "req-1"
HASH = "vmpooler__odrequest__req-1"
ITEMS, WAITING = "vmpooler__odcreate__task", "vmpooler__provisioning__request"
PROCESSING = "vmpooler__provisioning__processing"
OTHER = "ubuntu-2004-x86_64"
RESET = TransientProviderError("the connection was reset")
MISSING = PermanentProviderError("template templates/one does not exist")


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """Two pools that keep nothing ready."""
    return PoolWorld(db, pools=[pool(size=0), pool(OTHER, size=0)])


def submit(world: PoolWorld, text: str | bytes, request: str = ID, **fields: str) -> None:
    """As the API server does."""
    world.client.hset(f"vmpooler__odrequest__{request}", mapping={"requested": text, **fields})
    world.client.zadd(WAITING, {request: int(world.now)})


def run(world: PoolWorld) -> list[Work]:
    return job.run(world.context)


def status(world: PoolWorld, request: str = ID) -> tuple[str | None, str | None]:
    """(status, reason for its failure)"""
    found = world.client.hmget(f"vmpooler__odrequest__{request}", "status", "failure_reason")
    first, second = (None if value is None else value.decode() for value in found)
    return first, second


def members(world: PoolWorld, key: str) -> dict[str, float]:
    return {name.decode(): score for name, score in world.client.zrange(key, 0, -1, withscores=True)}


def delivered(world: PoolWorld, alias: str = "centos", name: str = POOL, request: str = ID) -> set[str]:
    return {vm.decode() for vm in world.client.smembers(f"vmpooler__{request}__{alias}__{name}")}


def test_a_request_is_accepted_and_its_clones_are_started(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:2")
    work = run(world)
    assert [(one.step, one.pool, one.request_id) for one in work] == [(Step.CLONE, POOL, ID)] * 2
    assert (members(world, WAITING), members(world, PROCESSING)) == ({}, {ID: world.now})
    assert members(world, ITEMS) == {}
    assert {one.vm for one in work} == world.names_in(Queue.PENDING)
    assert (world.slots(), world.request_slots()) == (0, 2)
    assert status(world) == (None, None)


def test_what_is_known_of_a_vm_names_its_request(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1")
    [work] = run(world)
    assert world.metadata(work.vm) == {
        "clone": "2024-01-15 10:30:00 +0000",
        "template": POOL,
        "pool": POOL,
        "domain": "example.com",
        "request_id": ID,
        "pool_alias": "centos",
    }


def test_a_request_is_ready_when_all_its_vms_are_delivered(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:2")
    [one, two] = run(world)
    assert world.deliver(one) == "delivered"
    assert status(world) == (None, None)
    assert delivered(world) == {one.vm}
    world.now += 30
    assert world.deliver(two) == "delivered"
    assert status(world) == ("ready", None)
    assert delivered(world) == world.names_in(Queue.RUNNING) == {one.vm, two.vm}
    assert members(world, PROCESSING) == {}
    assert (world.slots(), world.request_slots()) == (0, 0)
    assert world.names_in(Queue.READY) == set()


def test_a_delivered_vm_is_checked_out(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1")
    [work] = run(world)

    def pass_time(_: str) -> None:
        world.now += 42

    world.provider.before("create", pass_time)
    world.deliver(work)
    assert world.client.hgetall(keys.active(POOL)) == {work.vm.encode(): b"2024-01-15 10:30:42 +0000"}
    found = world.metadata(work.vm)
    assert found["checkout"] == found["ready"] == "2024-01-15 10:30:42 +0000"
    assert not {"token:token", "token:user", "lifetime"} & set(found)
    assert world.client.hget("vmpooler__boot__2024-01-15", f"{POOL}:{work.vm}") == b"42.00"


@pytest.mark.parametrize(("lifetime", "given"), [(None, None), (12, "12"), (0.5, "0.5")])
def test_a_vm_of_a_request_with_a_token_is_that_users(
    world: PoolWorld, lifetime: float | None, given: str | None
) -> None:
    world.config = {"vm_lifetime_auth": lifetime}
    submit(world, f"centos:{POOL}:1", **{"token:token": "secret", "token:user": "anna"})
    [work] = run(world)
    world.deliver(work)
    found = world.metadata(work.vm)
    assert (found["token:token"], found["token:user"], found.get("lifetime")) == ("secret", "anna", given)


def test_a_vm_that_boots_slowly_is_delivered_by_a_later_check(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1")
    world.provider.default_readiness = Readiness(False, "booting")
    [work] = run(world)
    assert world.deliver(work) == "pending"
    assert world.request_slots() == 0
    world.provider.default_readiness = Readiness(True)
    assert world.round() == ["delivered"]
    assert status(world) == ("ready", None)


def test_no_more_clones_are_in_flight_than_the_limit_of_requests(world: PoolWorld) -> None:
    world.config = {"ondemand_clone_limit": 3, "task_limit": 0}
    submit(world, f"centos:{POOL}:5")
    started = run(world)
    assert len(started) == world.request_slots() == 3
    assert members(world, ITEMS) == {f"centos:{POOL}:2:{ID}": world.now}, "what is left keeps its place"
    world.now += 5
    assert run(world) == []
    world.deliver(started[0])
    assert len(run(world)) == 1
    assert members(world, ITEMS) == {f"centos:{POOL}:1:{ID}": world.now - 5}
    for work in [*started[1:], *run(world)]:
        world.deliver(work)
    while pending := world.names_in(Queue.PENDING):
        for vm in pending:
            world.deliver(Work(Step.CLONE, vm, POOL, ID))
        run(world)
    assert status(world) == ("ready", None)
    assert len(delivered(world)) == 5


def test_a_limit_of_0_starts_nothing(world: PoolWorld) -> None:
    world.config = {"ondemand_clone_limit": 0}
    submit(world, f"centos:{POOL}:2")
    assert run(world) == []
    assert members(world, ITEMS) == {f"centos:{POOL}:2:{ID}": world.now}


def test_the_oldest_request_is_started_first(world: PoolWorld) -> None:
    world.config = {"ondemand_clone_limit": 1}
    submit(world, f"centos:{POOL}:1", "req-young")
    world.now -= 60
    submit(world, f"centos:{POOL}:1", "req-old")
    world.now += 60
    assert [work.request_id for work in run(world)] == ["req-old"]


def test_a_request_for_several_pools_and_aliases_is_ready_when_each_is_filled(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:2,ubuntu:{OTHER}:1,{POOL}:{POOL}:1")
    work = run(world)
    assert sorted(one.pool for one in work) == [POOL, POOL, POOL, OTHER]
    for one in work[:-1]:
        world.deliver(one)
        assert status(world) == (None, None)
    world.deliver(work[-1])
    assert status(world) == ("ready", None)
    assert [len(delivered(world, *names)) for names in (("centos", POOL), ("ubuntu", OTHER), (POOL, POOL))] == [2, 1, 1]


def test_equal_parts_of_a_request_are_added(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1,centos:{POOL}:1")
    [one, two] = run(world)
    world.deliver(one)
    assert status(world) == (None, None)
    world.deliver(two)
    assert status(world) == ("ready", None)


def test_an_alias_may_hold_colons(world: PoolWorld) -> None:
    submit(world, f"a:b:c:{POOL}:1")
    [work] = run(world)
    assert world.metadata(work.vm)["pool_alias"] == "a:b:c"
    assert world.deliver(work) == "delivered"
    assert delivered(world, "a:b:c") == {work.vm}
    assert status(world) == ("ready", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("centos:nowhere:1", "there is no pool 'nowhere'"),
        (f"a:x:1,b:{POOL}:1,c:y:1", "there is no pool 'x', 'y'"),
        (f"centos:{POOL}:11", "it asks for 11 VMs, more than max_ondemand_instances_per_request (10)"),
        (
            f"centos:{POOL}:6,ubuntu:{OTHER}:5",
            "it asks for 11 VMs, more than max_ondemand_instances_per_request (10)",
        ),
        (f"centos:{POOL}:{10**12}", f"it asks for {10**12} VMs, more than max_ondemand_instances_per_request (10)"),
        (f"centos:{POOL}:0", "it asks for no VM"),
        (POOL, f"it cannot be read: '{POOL}' is not alias:pool:count"),
        (f"centos:{POOL}:many", f"it cannot be read: 'centos:{POOL}:many' is not alias:pool:count"),
        (f"centos:{POOL}:-1", f"it cannot be read: 'centos:{POOL}:-1' is not alias:pool:count"),
        (f"centos:{POOL}:1,", "it cannot be read: '' is not alias:pool:count"),
        ("", "it cannot be read: '' is not alias:pool:count"),
        (b"centos:\xff:1", "it cannot be read: 'centos:\\udcff:1' is not valid UTF-8"),
        (b"centos:" + POOL.encode() + b":\xff", f"it cannot be read: 'centos:{POOL}:\\udcff' is not alias:pool:count"),
        (b"\xff:" + POOL.encode() + b":1", f"it cannot be read: '\\udcff:{POOL}:1' is not valid UTF-8"),
    ],
)
def test_a_request_that_cannot_be_filled_fails_with_a_reason(world: PoolWorld, text: str | bytes, reason: str) -> None:
    submit(world, text)
    submit(world, f"centos:{POOL}:1", "req-good")
    assert [work.request_id for work in run(world)] == ["req-good"]
    assert status(world) == ("failed", reason)
    assert members(world, ITEMS) == {}
    assert members(world, WAITING) == {}
    assert set(members(world, PROCESSING)) == {"req-good"}
    assert WEEK - 60 < world.client.ttl(HASH) <= WEEK


def test_a_count_of_thousands_of_digits_cannot_be_read(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:{'9' * 5000}")
    assert run(world) == []
    assert status(world)[0] == "failed"


@pytest.mark.parametrize("final_status", ["deleted", "failed", "ready"])
def test_a_request_that_is_closed_before_it_is_accepted_keeps_its_status(world: PoolWorld, final_status: str) -> None:
    submit(world, f"centos:{POOL}:1", status=final_status)
    assert run(world) == []
    assert status(world) == (final_status, None)
    assert members(world, WAITING) == members(world, PROCESSING) == {}


def test_a_request_without_anything_behind_it_is_let_go(world: PoolWorld) -> None:
    world.client.zadd(WAITING, {ID: world.now})
    assert run(world) == []
    assert members(world, WAITING) == {}
    assert status(world) == ("failed", "it was deleted")


def test_a_request_of_the_wrong_type_does_not_stop_the_others(world: PoolWorld) -> None:
    world.client.set(HASH, "x")
    world.client.zadd(WAITING, {ID: world.now})
    world.client.zadd(PROCESSING, {ID: world.now})
    submit(world, f"centos:{POOL}:1", "req-good")
    [work] = run(world)
    assert world.deliver(work) == "delivered"
    assert status(world, "req-good") == ("ready", None)


def test_a_queue_of_the_wrong_type_does_not_stop_other_requests(world: PoolWorld) -> None:
    world.client.set(keys.queue(Queue.PENDING, POOL), "x")
    submit(world, f"centos:{POOL}:1")
    submit(world, f"ubuntu:{OTHER}:1", "req-good")
    [work] = run(world)
    assert world.deliver(work) == "delivered"
    assert status(world, "req-good") == ("ready", None)
    world.client.delete(keys.queue(Queue.PENDING, POOL))
    assert [one.request_id for one in run(world)] == [ID]


@pytest.mark.parametrize("moment", ["before it is made", "while it is made", "after it is delivered"])
def test_the_vms_of_a_request_that_is_deleted_meanwhile_are_completed(world: PoolWorld, moment: str) -> None:
    def delete(_: str = "") -> None:
        world.client.hset(HASH, "status", "deleted")

    submit(world, f"centos:{POOL}:2")
    world.config = {"ondemand_clone_limit": 1}
    [work] = run(world)
    if moment == "before it is made":
        delete()
    elif moment == "while it is made":
        world.provider.before("create", delete)
    assert world.deliver(work) == ("delivered" if moment == "after it is delivered" else "request_closed")
    delete()
    assert run(world) == []
    assert world.names_in(Queue.COMPLETED) == {work.vm}
    assert world.names_in(Queue.RUNNING) == world.names_in(Queue.READY) == set()
    assert members(world, ITEMS) == members(world, PROCESSING) == {}
    assert status(world) == ("deleted", None)
    assert world.round() == ["destroyed"]


def test_a_request_whose_hash_is_gone_is_let_go_and_its_vm_completed(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1")
    [work] = run(world)
    world.client.delete(HASH)
    assert world.deliver(work) == "request_closed"
    run(world)
    assert members(world, PROCESSING) == {}
    assert world.names_in(Queue.COMPLETED) == {work.vm}


@pytest.mark.parametrize(("minutes", "late"), [(5, 5 * MINUTE), (0.5, 30)])
def test_a_late_request_fails_and_its_delivered_vms_are_completed(world: PoolWorld, minutes: float, late: int) -> None:
    world.config = {"ondemand_request_ttl": minutes, "ondemand_clone_limit": 1}
    submit(world, f"centos:{POOL}:2")
    [work] = run(world)
    world.deliver(work)
    [other] = run(world)
    world.now += late
    run(world)
    assert status(world) == (None, None)
    world.now += 1
    run(world)
    assert status(world) == ("failed", f"not filled within {minutes:g} minutes")
    assert world.names_in(Queue.COMPLETED) == {work.vm}
    assert members(world, ITEMS) == members(world, PROCESSING) == {}
    assert WEEK - 60 < world.client.ttl(HASH) <= WEEK
    assert world.deliver(other) == "request_closed", "nobody waits for it any more"


def test_a_request_that_is_filled_at_the_last_moment_is_ready(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1")
    [work] = run(world)
    world.vm(None, work.vm, 0)
    world.client.smove(keys.queue(Queue.PENDING, POOL), keys.queue(Queue.RUNNING, POOL), work.vm)
    world.client.sadd(f"vmpooler__{ID}__centos__{POOL}", work.vm)
    world.now += HOUR
    run(world)
    assert status(world) == ("ready", None)


def test_what_was_delivered_to_a_request_that_is_ready_stays_with_its_user(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1")
    [work] = run(world)
    world.deliver(work)
    world.client.zadd(PROCESSING, {ID: world.now})
    world.now += HOUR
    run(world)
    assert world.names_in(Queue.RUNNING) == {work.vm}
    assert members(world, PROCESSING) == {}


# --- how long its keys are kept --------------------------------------------------------------------------------------


DELIVERED = f"vmpooler__{ID}__centos__{POOL}"
MONTH = 30 * 24 * HOUR


def lets_go_after(world: PoolWorld, seconds: float, *names: str) -> bool:
    """Whether each of these keys is there, and expires after so many seconds."""
    return all(seconds - 60 < world.client.ttl(name) <= seconds for name in names)


def test_the_vms_of_a_ready_request_are_kept_for_a_month(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1,ubuntu:{OTHER}:1")
    work = run(world)
    world.deliver(work[0])
    assert world.client.ttl(HASH) == world.client.ttl(DELIVERED) == -1, "an open one is kept"
    world.deliver(work[1])
    assert status(world) == ("ready", None)
    assert lets_go_after(world, MONTH, HASH, DELIVERED, f"vmpooler__{ID}__ubuntu__{OTHER}")
    run(world)
    assert lets_go_after(world, MONTH, HASH, DELIVERED)


@pytest.mark.parametrize("error", [MISSING, RESET])
def test_a_request_whose_clone_failed_for_good_is_let_go_by_the_next_round(world: PoolWorld, error: Exception) -> None:
    world.config = {"max_vm_retries": 0}
    submit(world, f"centos:{POOL}:2")
    [one, two] = clones_of(world)
    world.deliver(one)
    world.provider.raises("create", error, always=True)
    world.deliver(two)
    assert status(world)[0] == "failed"
    run(world)
    assert lets_go_after(world, WEEK, HASH, DELIVERED)
    assert world.names_in(Queue.COMPLETED) == {one.vm}
    assert members(world, PROCESSING) == {}


def test_a_request_that_was_deleted_is_let_go(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:2")
    world.deliver(run(world)[0])
    world.client.hset(HASH, "status", "deleted")
    run(world)
    assert lets_go_after(world, WEEK, HASH, DELIVERED)


def test_a_request_that_was_not_filled_in_time_is_let_go(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:2")
    world.deliver(run(world)[0])
    world.now += HOUR
    run(world)
    assert status(world)[0] == "failed"
    assert lets_go_after(world, WEEK, HASH, DELIVERED)


@pytest.mark.parametrize("final_status", ["deleted", "failed", "ready"])
def test_an_expiry_that_another_program_set_stays(world: PoolWorld, final_status: str) -> None:
    submit(world, f"centos:{POOL}:2")
    world.deliver(run(world)[0])
    world.client.hset(HASH, "status", final_status)
    world.client.expire(HASH, 15 * 24 * HOUR)
    world.client.expire(DELIVERED, HOUR)
    run(world)
    assert lets_go_after(world, 15 * 24 * HOUR, HASH)
    assert lets_go_after(world, HOUR, DELIVERED)


def test_what_is_delivered_to_nobody_leaves_no_key(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1")
    [work] = run(world)
    world.client.hset(HASH, "status", "deleted")
    run(world)
    world.deliver(work)
    assert lets_go_after(world, WEEK, HASH)
    assert not world.client.exists(DELIVERED, ITEMS, PROCESSING, WAITING)


# --- clones that fail ------------------------------------------------------------------------------------------------


def clones_of(world: PoolWorld) -> list[Work]:
    return [work for work in run(world) if work.step is Step.CLONE]


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
    world.client.hset(HASH, "requested", "x")
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
    assert caplog.messages[-1] == f"[!] Request '{ID}' lost 2 VMs before their delivery: new clones are queued"
    again = run(world)
    assert len(again) == 2
    assert {work.vm for work in again}.isdisjoint({second.vm, third.vm})
    assert run(world) == [], "nothing is missing any more"
    assert {world.deliver(work) for work in again} == {"delivered"}
    assert status(world)[0] == "ready"
    assert len(delivered(world)) == 3
