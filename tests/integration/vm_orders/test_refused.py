"""Orders that nobody can carry out leave VMPooler's set as dead letters that say why."""

import pytest

from tests.support.order_world import OrderWorld
from tests.support.world import POOL
from vmpooler_tasks.jobs.orders import take
from vmpooler_tasks.model.deadletters.bounds import MAX_BYTES
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.vm_orders import ORDERS
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.orders.vm_orders import ORDER_KEYS

DISK = Step.CREATE_DISK

INVALID = {
    b"vm-1:abc": "the size 'abc' is not a number of gigabytes",
    b"vm-1:": "the size is empty",
    b"vm-1": "the order is not of the form vm:size",
    b"": "the order is not of the form vm:size",
    b":8": "the name of the VM is empty",
    b"vm-1:8:9": "the order is not of the form vm:size",
    b"vm-1:0": "the size has to be from 1 to 65536 GB, not 0",
    b"vm-1:-8": "the size has to be from 1 to 65536 GB, not -8",
    b"vm-1:99999999999999999999": "the size has to be from 1 to 65536 GB, not 99999999999999999999",
    b"vm-1:" + b"9" * 5000: "the size has 5000 characters, more than 255",
    b"vm-1:8\n": "the size contains a character that is not allowed",
    b"vm\xff1:8": "the order is not valid UTF-8",
    b"nobody:8": "there is no such VM",
    b"ready-1:8": "the VM is not running",
}


@pytest.mark.parametrize(("member", "why"), INVALID.items())
def test_an_order_that_cannot_be_carried_out_says_why(world: OrderWorld, member: bytes, why: str) -> None:
    world.ready_vm("ready-1")
    world.order(DISK, member)
    assert world.tick() == []
    assert world.waiting(DISK) == set()
    [failed] = world.failed()
    assert (failed["error_class"], failed["error_message"]) == ("OrderError", why)
    assert failed["task"] == "vmpooler_tasks.create_disk"
    assert world.provider.called("create_disk") == []
    assert world.leftovers() == []
    assert world.count("vm_orders_failed:create_disk") == 1


def test_one_bad_order_stops_no_other(world: OrderWorld) -> None:
    for member in INVALID:
        world.order(DISK, member)
    world.order(DISK, "vm-1:8")
    assert world.serve() == ["done"]


@pytest.mark.parametrize("step", ORDERS)
def test_a_key_of_another_type_stops_no_other_order(world: OrderWorld, step: Step) -> None:
    others = [one for one in ORDERS if one is not step]
    world.client.set(ORDER_KEYS[step], "x")
    for one in others:
        world.order(one, "vm-1:8")
    assert len(world.tick()) == len(others)


def test_a_vm_that_ended_meanwhile_makes_a_dead_letter(world: OrderWorld) -> None:
    world.order(DISK, "vm-1:8")
    [work] = world.tick()
    world.client.smove(f"vmpooler__{Queue.RUNNING}__{work.pool}", f"vmpooler__{Queue.COMPLETED}__{work.pool}", "vm-1")
    assert world.carry_out(work) == "OrderError"
    assert world.failed()[0]["error_message"] == "the VM is not running"
    assert world.waiting(DISK) == set()


def test_without_dead_letters_it_leaves_all_the_same(world: OrderWorld) -> None:
    world.config["dlq_enabled"] = False
    world.order(DISK, "vm-1:abc")
    world.tick()
    assert world.waiting(DISK) == set()
    assert world.failed() == []


@pytest.mark.parametrize("member", [b"v" * 1_000_000 + b":8", b"vm-1:" + b"8" * 1_000_000, b"\xff" * 1_000_000])
def test_a_dead_letter_of_a_huge_order_is_cut(world: OrderWorld, member: bytes) -> None:
    world.order(DISK, member)
    world.tick()
    [failed] = world.client.zrange(keys.dead_letters(DeadLetterQueue.TASKS), 0, -1)
    assert len(failed) <= MAX_BYTES
    assert set(world.failed()[0]["cut"]) == {"kwargs"}
    assert world.waiting(DISK) == set()


def test_orders_wait_while_the_workers_have_enough_to_do(world: OrderWorld) -> None:
    world.order(DISK, "vm-1:8")
    world.order(DISK, "vm-1:abc")
    assert take.run(world.context, may_send=False) == []
    assert world.waiting(DISK) == {"vm-1:8"}
    assert len(world.tick()) == 1


def test_an_order_waits_while_the_queue_of_its_vm_cannot_be_read(world: OrderWorld) -> None:
    world.client.set(keys.queue(Queue.RUNNING, POOL), "x")
    world.order(DISK, "vm-1:8")
    assert world.tick() == []
    assert world.waiting(DISK) == {"vm-1:8"}
    assert world.failed() == []


def test_metadata_of_another_type_stops_no_order_before_it_has_started(world: OrderWorld) -> None:
    world.client.delete(keys.vm(b"vm-1"))
    world.client.set(keys.vm(b"vm-1"), "x")
    world.order(DISK, "vm-1:8")
    [work] = world.tick()
    assert world.carry_out(work) == "WrongTypeError"
    assert world.provider.sizes("vm-1") == [8]
