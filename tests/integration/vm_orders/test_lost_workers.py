"""A worker is lost while it carries out an order: a disk or a snapshot is made once, a revert is never repeated."""

import pytest

from tests.support.order_world import OrderWorld
from tests.support.pool_world import HOUR
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentError
from vmpooler_tasks.jobs.orders import carry_out
from vmpooler_tasks.jobs.pools import destroy
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.vm_orders import ORDERS, VmOrder
from vmpooler_tasks.store import keys

DISK, SNAPSHOT, REVERT = Step.CREATE_DISK, Step.CREATE_SNAPSHOT, Step.REVERT_SNAPSHOT

BEFORE = {DISK: "has_disk", SNAPSHOT: "has_snapshot", REVERT: "has_snapshot"}
BEHIND = {DISK: "create_disk_ended", SNAPSHOT: "create_snapshot_ended", REVERT: "revert"}


class KilledError(PermanentError):
    """The worker is gone: nothing tries again, and nothing reports the failure."""


def killed(world: OrderWorld, work: Work, during: str, owner: str = "task-1/0") -> None:
    """Carry out the order with a worker that is killed during this call of its provider."""

    def kill(_: str) -> None:
        raise KilledError

    world.provider.before(during, kill)
    assert work.value
    with pytest.raises(KilledError):
        carry_out.run(world.context, VmOrder(work.step, work.vm, work.value), work.pool, owner)
    world.provider.before(during, None)


def started(world: OrderWorld, step: Step) -> Work:
    if step is REVERT:
        world.provider.snapshots.add(("vm-1", "8"))
    world.order(step, "vm-1:8")
    [work] = world.tick()
    return work


def lease_ends(world: OrderWorld) -> None:
    world.now += world.settings.config.lease_seconds + 1


@pytest.mark.parametrize("when", [BEFORE, BEHIND])
@pytest.mark.parametrize("step", [DISK, SNAPSHOT])
def test_it_is_repeated_and_made_once(world: OrderWorld, step: Step, when: dict[Step, str]) -> None:
    work = started(world, step)
    killed(world, work, when[step])
    assert world.waiting(step) == set()
    assert world.tick() == [], "its worker may live"
    assert world.carry_out(work, "task-1/0") == "busy", "its message is delivered again"
    lease_ends(world)
    assert world.tick() == [work]
    assert world.tick() == [], "it is handed out once"
    assert world.carry_out(work, "task-2/0") == "done"
    assert len(world.provider.disks) + len(world.provider.snapshots) == 1
    assert len([name for name in world.metadata("vm-1") if name == "disk" or name.startswith("snapshot:")]) == 1
    assert world.failed() == []
    assert world.leftovers() == []


@pytest.mark.parametrize("when", [BEFORE, BEHIND])
def test_a_revert_becomes_a_dead_letter(world: OrderWorld, when: dict[Step, str]) -> None:
    work = started(world, REVERT)
    killed(world, work, when[REVERT])
    count = len(world.provider.reverts)
    assert world.carry_out(work, "task-1/0") == "busy", "its message is delivered again"
    assert world.failed() == [], "its worker may live"
    lease_ends(world)
    assert world.tick() == []
    [failed] = world.failed()
    assert failed["error_class"] == "InterruptedOrderError"
    assert "may be done, half done or not done" in failed["error_message"]
    assert (failed["vm"], failed["checkout"]) == ("vm-1", world.stamp(60 + world.settings.config.lease_seconds + 1))
    assert world.carry_out(work, "task-1/0") == "gone"
    assert len(world.provider.reverts) == count
    assert world.leftovers() == []


def test_a_message_that_comes_back_after_the_lease_starts_no_second_revert(world: OrderWorld) -> None:
    work = started(world, REVERT)
    killed(world, work, BEHIND[REVERT])
    lease_ends(world)
    assert world.carry_out(work, "task-1/0") == "InterruptedOrderError"
    assert len(world.failed()) == 1
    assert len(world.provider.reverts) == 1
    world.tick()
    assert len(world.failed()) == 1


def test_the_next_try_of_the_same_task_needs_no_wait(world: OrderWorld) -> None:
    work = started(world, REVERT)
    killed(world, work, BEHIND[REVERT])
    assert world.carry_out(work, "task-1/1") == "InterruptedOrderError", "its first try has ended"
    assert len(world.provider.reverts) == 1
    assert len(world.failed()) == 1


def test_a_worker_that_was_frozen_starts_no_revert_that_was_given_up(world: OrderWorld) -> None:
    work = started(world, REVERT)

    def freeze(_: str) -> None:
        lease_ends(world)
        world.tick()

    world.provider.before("has_snapshot", freeze)
    assert world.carry_out(work) == "lost"
    assert world.provider.reverts == []
    assert len(world.failed()) == 1


def test_a_worker_that_was_frozen_writes_no_second_result(world: OrderWorld) -> None:
    work = started(world, DISK)

    def freeze(_: str) -> None:
        world.provider.before("create_disk_ended", None)
        lease_ends(world)
        [again] = world.tick()
        assert world.carry_out(again, "task-2/0") == "done"

    world.provider.before("create_disk_ended", freeze)
    assert world.carry_out(work) == "lost"
    assert world.metadata("vm-1")["disk"] == "+8gb"
    assert world.provider.sizes("vm-1") == [8]


def test_an_order_that_kills_every_worker_ends_as_a_dead_letter(world: OrderWorld) -> None:
    work = started(world, DISK)
    for number in range(3):
        killed(world, work, "has_disk", f"task-{number}/0")
        lease_ends(world)
        world.tick()
    assert world.carry_out(work, "task-9/0") == "InterruptedOrderError"
    assert world.failed()[0]["error_message"] == "3 attempts started the order, and none finished it"
    assert world.leftovers() == []


@pytest.mark.parametrize("step", ORDERS)
def test_a_lease_is_renewed_while_it_takes_long(world: OrderWorld, step: Step) -> None:
    work = started(world, step)

    def wait(_: str) -> None:
        for _renewal in range(3):
            world.now += world.settings.config.lease_seconds * 0.6
            assert world.leases
            world.leases.renew_all()
            assert world.tick() == []

    world.provider.before(BEHIND[step], wait)
    assert world.carry_out(work) == "done"


def test_a_vm_that_is_destroyed_meanwhile_leaves_the_order_to_its_worker(world: OrderWorld) -> None:
    work = started(world, REVERT)

    def give_back(_: str) -> None:
        world.client.smove(keys.queue(Queue.RUNNING, POOL), keys.queue(Queue.COMPLETED, POOL), "vm-1")
        destroy.run(world.context, "vm-1", POOL, "task-9")

    world.provider.before("revert", give_back)
    world.carry_out(work)
    assert len(world.provider.reverts) == 1
    lease_ends(world)
    assert world.tick() == []
    assert len(world.failed()) == 1, "the provider has no such VM any more"
    assert world.leftovers() == []


@pytest.mark.parametrize("step", [DISK, SNAPSHOT, REVERT])
def test_a_message_of_an_order_that_was_sent_while_the_clock_was_ahead_is_sent_again(
    world: OrderWorld, step: Step
) -> None:
    world.now += HOUR
    work = started(world, step)
    world.now -= HOUR
    assert world.tick() == [work]
    assert world.tick() == [], "once"


def test_a_lease_of_a_dead_worker_that_was_given_while_the_clock_was_ahead_is_over(world: OrderWorld) -> None:
    world.now += HOUR
    work = started(world, DISK)
    killed(world, work, BEFORE[DISK])
    world.now -= HOUR
    assert world.tick() == [work]
    assert world.carry_out(work, "task-2/0") == "done"
