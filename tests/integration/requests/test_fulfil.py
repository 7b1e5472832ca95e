"""On-demand requests are accepted and filled, or fail with a reason."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support import counting_proxy
from tests.support.pool_world import HOUR, MINUTE, WEEK, PoolWorld
from tests.support.request_world import (
    HASH,
    ID,
    ITEMS,
    OTHER,
    PROCESSING,
    WAITING,
    delivered,
    members,
    run,
    status,
    submit,
)
from tests.support.servers import TestServer
from tests.support.world import POOL
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.jobs.requests.fulfil import LISTING_SECONDS
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store import keys

pytestmark = pytest.mark.both_servers


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
        (f"centos:{POOL}:{10**12}", f"it asks for {10**12} VMs, more than 10000, which is the maximum"),
        (POOL, f"it cannot be read: '{POOL}' is not alias:pool:count"),
        (f"centos:{POOL}:many", f"it cannot be read: 'centos:{POOL}:many' is not alias:pool:count"),
        (f"centos:{POOL}:-1", f"it cannot be read: 'centos:{POOL}:-1' is not alias:pool:count"),
        (f"centos:{POOL}:1,", "it cannot be read: '' is not alias:pool:count"),
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
    world.now += LISTING_SECONDS
    assert run(world) == []
    assert members(world, WAITING) == {}
    assert status(world) == ("failed", "it was deleted")


def test_a_request_that_the_api_is_writing_now_waits(world: PoolWorld) -> None:
    def tick(command: tuple[Any, ...]) -> None:
        if command[0] == "HSET":
            assert run(world) == []

    world.start_api(before_command=tick).request_vms({POOL: 1}, ID)
    assert status(world) == (None, None)
    assert len(run(world)) == 1


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


def test_a_pass_that_has_nothing_to_do_makes_few_round_trips(world: PoolWorld, server: TestServer) -> None:
    def trips() -> int:
        return counting_proxy.round_trips(server.port, lambda db: fulfil.run(replace(world.context, db=db)))

    idle = trips()
    assert idle <= 4
    for number in range(10):
        submit(world, f"centos:{POOL}:1", f"req-{number}")
    run(world)
    assert trips() <= idle + 1 + 2 * 10, "what they want, and for each: is it filled, did it lose a VM"
