"""Dead letters of orders run again: a disk and a snapshot like any other, a revert only by id and confirmed."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.order_world import OrderWorld, running
from tests.support.redriver import Redriver
from tests.support.servers import TestServer
from tests.support.world import POOL
from vmpooler_tasks.errors import InvalidInputError, PermanentProviderError
from vmpooler_tasks.jobs.redrive.edit import why_not_editable
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.orders.vm_orders import ORDER_KEYS
from vmpooler_tasks.tasks.registry import OWN

DISK, SNAPSHOT, REVERT = Step.CREATE_DISK, Step.CREATE_SNAPSHOT, Step.REVERT_SNAPSHOT

QUOTA = PermanentProviderError("quota exceeded")


@dataclass
class OrderRedriver(OrderWorld, Redriver):
    """Runs of redrives over orders that failed."""

    def only(self) -> Any:
        """Return the one dead letter."""
        [found] = self.found(DeadLetterQueue.TASKS)
        return found

    def fail_order(self, step: Step, member: str = "vm-1:before") -> str:
        """Let an order fail in the provider, and return the id of its dead letter."""
        self.provider.raises({DISK: "has_disk", SNAPSHOT: "has_snapshot", REVERT: "revert"}[step], QUOTA)
        if step is REVERT:
            self.provider.snapshots.add(("vm-1", "before"))
        self.order(step, member)
        assert self.serve() == ["PermanentProviderError"]
        return str(self.only().id)


@pytest.fixture
def world(db: Database, server: TestServer) -> Iterator[OrderRedriver]:
    with ExitStack() as stack:
        own = OrderRedriver(db, url=server.url, stack=stack)
        running(own)
        yield own


@pytest.mark.parametrize(("step", "member"), [(DISK, "vm-1:8"), (SNAPSHOT, "vm-1:before")])
def test_a_disk_and_a_snapshot_run_again_and_know_where_they_come_from(
    world: OrderRedriver, step: Step, member: str
) -> None:
    failed = world.fail_order(step, member)
    order = world.only().text("order")
    assert world.redrive() == {"redriven": 1}
    assert world.left() == set()
    assert world.waiting(step) == {member}
    world.provider.raises("has_disk", QUOTA)
    world.provider.raises("has_snapshot", QUOTA)
    world.serve()
    again = world.only()
    assert (again.fields["redrive_of"], again.fields["redrives"], again.fields["retry_count"]) == (failed, 1, 1)
    assert again.text("order") == order, "the provider knows the order by one name"
    assert [one["error_message"] for one in again.fields["attempts"]] == ["quota exceeded"]
    assert world.redrive() == {"redriven": 1}
    assert world.serve() == ["done"]
    assert world.leftovers() == []


def test_a_disk_that_was_made_before_the_failure_is_not_made_again(world: OrderRedriver) -> None:
    world.provider.raises("create_disk_ended", QUOTA)
    world.order(DISK, "vm-1:8")
    world.serve()
    world.redrive()
    assert world.serve() == ["done"]
    assert world.provider.sizes("vm-1") == [8]
    assert world.metadata("vm-1")["disk"] == "+8gb"


def test_a_failure_of_the_successor_is_counted_in_the_run(world: OrderRedriver) -> None:
    world.fail_order(DISK, "vm-1:8")
    run = world.start()
    world.drive(run)
    world.provider.raises("has_disk", QUOTA)
    world.serve()
    assert world.client.hget(keys.redrive(run), "failed_again") == b"1"


def test_a_filter_keeps_a_revert(world: OrderRedriver) -> None:
    failed = world.fail_order(REVERT)
    for wanted in ({}, {"queues": (DeadLetterQueue.TASKS,)}, {"vm": "vm-1"}):
        assert world.redrive(**wanted) == {"kept": 1}
    assert world.preview().to_confirm == 1
    assert world.left() == {failed}
    assert world.waiting(REVERT) == set()


def test_its_id_alone_is_not_enough(world: OrderRedriver) -> None:
    failed = world.fail_order(REVERT)
    assert world.redrive(failed) == {"kept": 1}
    assert world.left() == {failed}
    [(_, why)] = world.preview(failed).reasons
    assert why.endswith("it runs again only by its id, with a confirmation")


def test_a_confirmation_without_an_id_is_refused(world: OrderRedriver) -> None:
    world.fail_order(REVERT)
    with pytest.raises(InvalidInputError, match="only dead letters that are named by their ids can be confirmed"):
        world.start(confirmed=True)


def test_by_id_and_confirmed_it_runs_again_once(world: OrderRedriver) -> None:
    failed = world.fail_order(REVERT)
    assert world.redrive(failed, confirmed=True) == {"redriven": 1}
    assert world.left() == set()
    assert world.serve() == ["done"]
    assert world.provider.reverts == [("vm-1", "before")] * 2, "the one that failed, and this one"
    assert world.tick() == []
    assert world.leftovers() == []


@pytest.mark.parametrize("checkout", ["2024-01-15 10:29:59 +0000", None])
def test_a_vm_that_was_checked_out_again_keeps_its_dead_letter(world: OrderRedriver, checkout: str | None) -> None:
    failed = world.fail_order(REVERT)
    if checkout:
        world.client.hset(keys.vm(b"vm-1"), "checkout", checkout)
        world.client.hset(keys.active(POOL), "vm-1", checkout)
    else:
        world.client.hdel(keys.vm(b"vm-1"), "checkout")
        world.client.hdel(keys.active(POOL), "vm-1")
    assert world.redrive(failed, confirmed=True) == {"kept": 1}
    assert world.left() == {failed}
    assert world.waiting(REVERT) == set()


def test_the_checkout_is_compared_in_the_step_that_puts_the_order_back(world: OrderRedriver) -> None:
    failed = world.fail_order(REVERT)
    run = world.start(failed, confirmed=True)
    world.client.hset(keys.vm(b"vm-1"), "checkout", world.stamp(1))  # after the preview
    assert world.drive(run).counts["kept"] == 1
    assert world.waiting(REVERT) == set()


def test_a_revert_without_a_checkout_in_its_dead_letter_is_kept(world: OrderRedriver) -> None:
    own = world.dead_letter(
        "tasks",
        task="vmpooler_tasks.revert_snapshot",
        vm="vm-1",
        pool=POOL,
        kwargs={"vm": "vm-1", "pool": POOL, "snapshot": "before"},
    )
    world.client.hdel(keys.vm(b"vm-1"), "checkout")
    world.client.hdel(keys.active(POOL), "vm-1")
    assert world.redrive(own, confirmed=True) == {"kept": 1}


@pytest.mark.parametrize("step", [DISK, REVERT])
def test_a_vm_that_ended_makes_it_obsolete(world: OrderRedriver, step: Step) -> None:
    failed = world.fail_order(step, "vm-1:8" if step is DISK else "vm-1:before")
    world.client.smove(keys.queue(Queue.RUNNING, POOL), keys.queue(Queue.COMPLETED, POOL), "vm-1")
    assert world.redrive(failed, confirmed=True) == {"obsolete": 1}
    assert world.left() == set()


@pytest.mark.parametrize("member", [b"vm-1:abc", b"vm-1", b"nobody:8", b"vm\xff1:8"])
def test_an_order_that_was_never_valid_is_kept(world: OrderRedriver, member: bytes) -> None:
    world.order(DISK, member)
    world.tick()
    assert world.redrive() == {"kept": 1}
    assert len(world.left()) == 1


def test_where_vmpooler_manages_the_pools_it_is_kept(world: OrderRedriver) -> None:
    world.fail_order(DISK, "vm-1:8")
    world.config["manage_pools"] = False
    assert world.redrive() == {"kept": 1}
    assert world.waiting(DISK) == set()


@pytest.mark.parametrize("step", [DISK, SNAPSHOT, REVERT])
def test_no_order_can_be_edited(world: OrderRedriver, step: Step) -> None:
    world.fail_order(step, "vm-1:8" if step is DISK else "vm-1:before")
    assert why_not_editable(world.only(), OWN)


def test_an_order_that_another_manager_takes_leaves_nothing(world: OrderRedriver) -> None:
    world.fail_order(DISK, "vm-1:8")
    world.redrive()
    world.tick()
    assert world.client.spop(ORDER_KEYS[DISK]) == b"vm-1:8"
    world.now += world.settings.config.lease_seconds + 1
    world.tick()
    assert world.leftovers() == []
