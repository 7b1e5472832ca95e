"""Health names the orders for running VMs that nobody carries out, with their key and how long they have waited."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support import counting_proxy
from tests.support.order_world import OrderWorld, running
from tests.support.servers import TestServer
from vmpooler_tasks.jobs.health import changes, check
from vmpooler_tasks.jobs.orders import take
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.vm_orders import ORDERS
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.orders.vm_orders import ORDER_KEYS

DISK = Step.CREATE_DISK


def waiting(world: OrderWorld) -> list[Any]:
    """Check health, and return the reasons about orders."""
    report = check.run(world.db, world.settings, world.clock, forced=True)
    assert report is not None
    return [reason for reason in report.assessment.reasons if reason.code == "orders_waiting"]


@pytest.mark.parametrize("step", ORDERS)
def test_an_order_that_nobody_takes_is_a_reason_after_half_a_minute(world: OrderWorld, step: Step) -> None:
    world.order(step, "vm-1:8")
    assert waiting(world) == []
    world.now += 30
    assert waiting(world) == [], "the limit itself is healthy"
    world.now += 1
    [reason] = waiting(world)
    assert (reason.severity, reason.measured, reason.threshold) == (Status.DEGRADED, 31, 30)
    assert (reason.key, reason.error) == (ORDER_KEYS[step].decode(), "1 order waits")
    world.client.delete(ORDER_KEYS[step])
    assert waiting(world) == []
    assert not world.client.exists(keys.VM_ORDERS_SEEN)


def test_orders_that_come_and_go_are_no_reason(world: OrderWorld) -> None:
    for number in range(5):
        world.order(DISK, f"vm-1:{number + 1}")
        assert waiting(world) == []
        world.serve()
        world.now += 25


def test_the_same_order_again_waits_anew(world: OrderWorld) -> None:
    world.order(DISK, "vm-1:8")
    waiting(world)
    world.now += 20
    world.serve()
    world.order(DISK, "vm-1:8")
    world.now += 20
    assert waiting(world) == []


def test_vmpoolers_manager_gets_five_seconds_for_each(world: OrderWorld) -> None:
    world.config["manage_pools"] = False
    for number in range(10):
        world.order(DISK, f"vm-1:{number + 1}")
    assert waiting(world) == []
    world.now += 80
    assert waiting(world) == []
    world.now += 1
    [reason] = waiting(world)
    assert (reason.measured, reason.threshold, reason.error) == (81, 80, "10 orders wait")


def test_it_is_watched_between_two_checks(world: OrderWorld) -> None:
    world.config["health_check_enabled"] = True
    waiting(world)
    world.order(DISK, "vm-1:8")
    for _ in range(2):
        seen = changes.read_watched(world.db, world.settings, world.now)
        world.now += 31
    assert [work.code for work in seen.stalled if work.code == "orders_waiting"] == ["orders_waiting"]
    assert "work" in changes.changed_facts(world.db, world.settings, seen)


def test_very_many_orders_take_little_memory(world: OrderWorld) -> None:
    world.client.sadd(keys.DISK_ORDERS, *(f"vm-{number}:8" for number in range(3_000)))
    for _ in range(5):
        waiting(world)
        world.now += 10
    assert world.client.zcard(keys.VM_ORDERS_SEEN) <= 1_000
    [reason] = waiting(world)
    assert reason.error == "3000 orders wait"


def test_a_key_of_another_type_is_a_reason_of_its_own(world: OrderWorld) -> None:
    world.client.set(keys.DISK_ORDERS, "x")
    assert waiting(world) == []


def test_the_round_trips_do_not_depend_on_the_number_of_orders(world: OrderWorld, server: TestServer) -> None:
    running(world, "vm-2")
    world.client.hdel(keys.vm(b"vm-2"), "pool", "template")

    def ticks(*members: str) -> int:
        world.client.delete(keys.DISK_ORDERS, keys.VM_ORDERS_SENT)
        world.client.sadd(keys.DISK_ORDERS, *members)
        return counting_proxy.round_trips(server.port, lambda db: take.run(replace(world.context, db=db)))

    few = ticks("vm-1:1", "vm-2:1")
    assert ticks(*(f"vm-{number % 2 + 1}:{number + 1}" for number in range(200))) == few
    assert few <= 8
