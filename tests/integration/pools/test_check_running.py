"""A running VM is its user's until its lifetime ends, or it is known to be nobody's."""

import logging
from typing import Any

import pytest

from tests.support.pool_world import HOUR, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.jobs.pools import check_running
from vmpooler_tasks.jobs.pools.check_running import GRACE_SECONDS
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys

VM = "pooler-a"


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=0)])


def check(world: PoolWorld, vm: str = VM) -> str:
    return check_running.check(world.context, vm, POOL)


@pytest.mark.parametrize(("age", "outcome"), [(24 * HOUR, "running"), (24 * HOUR + 1, "completed")])
def test_a_vm_is_completed_when_its_lifetime_is_over(world: PoolWorld, age: int, outcome: str) -> None:
    world.running_vm(VM, age)
    assert world.due(Step.CHECK_RUNNING) == ([VM] if outcome == "completed" else [])
    assert check(world) == outcome
    assert world.queues_of(VM) == [Queue(outcome)]


@pytest.mark.parametrize(
    ("config", "metadata", "limit"),
    [
        ({"vm_lifetime": 2}, {}, 2),
        ({"vm_lifetime": 2}, {"lifetime": "5"}, 5),
        ({"vm_lifetime": 2}, {"lifetime": "0.5"}, 0.5),
        ({"vm_lifetime": 0}, {"lifetime": "1"}, 1),
        ({"vm_lifetime": 2}, {"lifetime": ""}, 2),
        ({"vm_lifetime": 2}, {"lifetime": "long"}, 2),
    ],
)
def test_the_lifetime_is_the_vms_own_else_the_configured_one(
    world: PoolWorld, config: dict[str, Any], metadata: dict[str, str], limit: float
) -> None:
    world.config = config
    world.running_vm("pooler-at", limit * HOUR, **metadata)
    world.running_vm("pooler-beyond", limit * HOUR + 1, **metadata)
    assert (check(world, "pooler-at"), check(world, "pooler-beyond")) == ("running", "completed")


@pytest.mark.parametrize(("config", "metadata"), [({"vm_lifetime": 0}, {}), ({}, {"lifetime": "0"})])
def test_a_lifetime_of_0_is_for_ever(world: PoolWorld, config: dict[str, Any], metadata: dict[str, str]) -> None:
    world.config = config
    world.running_vm(VM, 10_000 * HOUR, **metadata)
    assert check(world) == "running"


def test_without_an_active_entry_the_checkout_in_the_metadata_counts(world: PoolWorld) -> None:
    world.running_vm(VM, None, checkout=world.stamp(24 * HOUR + 1))
    assert world.due(Step.CHECK_RUNNING) == [VM]
    assert check(world) == "completed"


def test_the_list_of_active_vms_is_believed_first(world: PoolWorld) -> None:
    world.running_vm(VM, 60, checkout=world.stamp(100 * HOUR))
    assert check(world) == "running"


def test_a_vm_without_a_checkout_is_kept_for_the_grace_and_completed_after_it(world: PoolWorld) -> None:
    world.running_vm(VM, None)
    assert world.due(Step.CHECK_RUNNING) == [VM]
    assert check(world) == "running"
    world.now += GRACE_SECONDS - 1
    assert check(world) == "running"
    world.now += 1
    assert check(world) == "completed"
    assert world.queues_of(VM) == [Queue.COMPLETED]


def test_a_vm_whose_checkout_is_written_a_moment_later_stays(world: PoolWorld) -> None:
    world.ready_vm(VM)

    def check_before(command: tuple[Any, ...]) -> None:
        if command[0] == "HSET":
            assert check(world) == "running"

    assert world.start_api(before_command=check_before).checkout_vm(VM, POOL)
    world.now += 10 * GRACE_SECONDS
    assert world.due(Step.CHECK_RUNNING) == []
    assert check(world) == "running"


def test_a_vm_that_is_gone_is_completed(world: PoolWorld) -> None:
    world.running_vm(VM, 60)
    world.provider.machines.clear()
    world.provider.pool_of.clear()
    assert world.due(Step.CHECK_RUNNING) == [VM]
    assert check(world) == "completed"
    assert world.round() == ["destroyed"]
    assert not world.client.hexists(keys.active(POOL), VM)


def test_a_vm_that_only_the_list_leaves_out_is_kept(world: PoolWorld) -> None:
    world.running_vm(VM, 60)
    world.provider.hidden = {VM}
    assert world.due(Step.CHECK_RUNNING) == [VM]
    assert check(world) == "running"
    assert world.queues_of(VM) == [Queue.RUNNING]


def test_a_provider_that_does_not_say_changes_nothing(world: PoolWorld) -> None:
    world.running_vm(VM, 60)
    world.provider.raises("find", TransientProviderError("no"))
    with pytest.raises(TransientProviderError):
        check(world)
    assert world.queues_of(VM) == [Queue.RUNNING]


def test_a_lifetime_that_is_over_needs_no_provider(world: PoolWorld) -> None:
    world.running_vm(VM, 25 * HOUR)
    world.provider.raises("find", TransientProviderError("no"))
    assert check(world) == "completed"


def test_a_vm_that_left_running_meanwhile_is_not_touched(world: PoolWorld) -> None:
    world.running_vm(VM, 25 * HOUR)
    world.client.srem(keys.queue(Queue.RUNNING, POOL), VM)
    assert check(world) == "left_queue"
    assert world.queues_of(VM) == []


def test_the_log_says_why_a_vm_left_running(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    world.running_vm("pooler-old", 25 * HOUR)
    world.running_vm("pooler-own", 3 * HOUR, lifetime="2.5")
    world.vm(Queue.RUNNING, "pooler-gone", 0)
    world.client.hset(keys.active(POOL), "pooler-gone", world.stamp(0))
    world.running_vm("pooler-nobodys", None)
    check(world, "pooler-nobodys")
    world.now += GRACE_SECONDS
    for vm in ("pooler-old", "pooler-own", "pooler-gone", "pooler-nobodys"):
        check(world, vm)
    assert caplog.messages == [
        f"[!] [{POOL}] 'pooler-old' reached end of TTL after 24 hours",
        f"[!] [{POOL}] 'pooler-own' reached end of TTL after 2.5 hours",
        f"[!] [{POOL}] 'pooler-gone' is no longer in inventory, removing from running",
        f"[!] [{POOL}] 'pooler-nobodys' is listed as running, but has no checkouttime data. Removing from running",
    ]
