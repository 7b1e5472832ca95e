"""A clone becomes one ready VM, however often its message is delivered."""

import logging

import pytest

from tests.support.pool_world import RESET, PoolWorld
from tests.support.world import POOL
from vmpooler_tasks.errors import InvalidInputError, ThrottledProviderError
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.keys import POOL_SLOTS

pytestmark = pytest.mark.both_servers


def lasting(world: PoolWorld, seconds: float) -> None:
    def pass_time(_: str) -> None:
        world.now += seconds

    world.provider.before("create", pass_time)


def test_a_clone_is_ready_with_all_that_is_known_of_it(world: PoolWorld, vm: str) -> None:
    lasting(world, 42.5)
    assert world.clone(vm) == "ready"
    assert world.queues_of(vm) == [Queue.READY]
    found = world.metadata(vm)
    assert float(found.pop("clone_time")) >= 0
    assert found == {
        "clone": "2024-01-15 10:30:00 +0000",
        "template": POOL,
        "pool": POOL,
        "domain": "example.com",
        "ip": "10.0.0.1",
        "host": "host-1",
        "ready": "2024-01-15 10:30:42 +0000",
    }
    assert world.ttl(vm) == -1
    assert world.slots() == 0


def test_a_vm_ages_from_when_a_worker_takes_it_on(world: PoolWorld, vm: str) -> None:
    world.client.hset(keys.vm(vm.encode()), "timeout_notification", "1")
    world.now += 3 * 60 * 60
    world.provider.default_readiness = Readiness(False, "connection refused")
    assert world.clone(vm) == "pending"
    assert world.metadata(vm)["clone"] == "2024-01-15 13:30:00 +0000"
    assert "timeout_notification" not in world.metadata(vm)
    assert world.round() == ["pending"], "it has waited for longer than a clone may take, and is no failure"


def test_nothing_of_our_own_is_left_of_a_vm_that_is_ready(world: PoolWorld, vm: str) -> None:
    world.clone(vm)
    assert not world.client.exists(keys.work(vm.encode()))
    assert not world.client.zrange(POOL_SLOTS.key, 0, -1)


def test_a_vm_that_has_not_booted_yet_stays_pending_and_gives_its_slot_back(world: PoolWorld, vm: str) -> None:
    world.provider.default_readiness = Readiness(False, "connection refused")
    assert world.clone(vm) == "pending"
    assert world.queues_of(vm) == [Queue.PENDING]
    assert world.slots() == 0
    found = world.metadata(vm)
    assert found["ip"] == "10.0.0.1"
    assert "ready" not in found
    assert world.due(Step.CHECK_PENDING) == [vm]
    world.provider.default_readiness = Readiness(True)
    assert world.round() == ["ready"]


@pytest.mark.parametrize("error", [RESET, OSError("no route"), RuntimeError("what?")])
def test_a_failed_readiness_check_does_not_fail_the_clone(world: PoolWorld, vm: str, error: Exception) -> None:
    world.provider.raises("ready", error)
    assert world.clone(vm) == "pending"
    assert world.queues_of(vm) == [Queue.PENDING]
    assert world.dead_letters("clone") == []
    assert world.round() == ["ready"]


def test_a_failure_reported_of_a_vm_that_was_made_changes_nothing(world: PoolWorld, vm: str) -> None:
    world.provider.default_readiness = Readiness(False, "connection refused")
    world.clone(vm)
    assert not world.fail(vm, RESET)
    assert world.queues_of(vm) == [Queue.PENDING]
    assert world.dead_letters("clone") == []


def test_only_a_later_check_times_a_slow_clone_out(world: PoolWorld, vm: str) -> None:
    world.provider.default_readiness = Readiness(False, "connection refused")
    world.provider.before("create", lambda _: setattr(world, "now", world.now + 16 * 60))
    assert world.clone(vm) == "pending", "it was made just now"
    assert world.round()[0] == "failed"


def test_a_second_delivery_of_a_clone_that_is_made_does_nothing(world: PoolWorld, vm: str) -> None:
    world.provider.default_readiness = Readiness(False, "connection refused")
    world.clone(vm)
    assert [world.clone(vm), world.clone(vm, owner="task-2")] == ["already_cloned", "already_cloned"]
    world.provider.default_readiness = Readiness(True)
    world.round()
    assert world.clone(vm) == "left_queue"
    assert world.provider.called("create") == [vm]
    assert world.slots() == 0


def test_a_vm_that_was_purged_is_not_cloned_and_gives_its_slot_back(world: PoolWorld, vm: str) -> None:
    world.client.srem(keys.queue(Queue.PENDING, POOL), vm)
    assert world.clone(vm) == "left_queue"
    assert world.provider.calls[1:] == []
    assert world.slots() == 0


def test_a_vm_that_is_purged_while_it_is_cloned_is_found_and_destroyed(world: PoolWorld, vm: str) -> None:
    world.provider.before("create", lambda name: world.client.srem(keys.queue(Queue.PENDING, POOL), name))
    assert world.clone(vm) == "left_queue"
    assert world.queues_of(vm) == []
    assert world.slots() == 0
    world.provider.before("create", None)
    assert vm in world.provider.machines
    for _ in range(4):
        world.round()
        world.now += 11
    assert vm not in world.provider.machines
    assert world.queues_of(vm) == []


def test_an_error_that_may_pass_is_tried_again_at_once(world: PoolWorld, vm: str) -> None:
    world.provider.raises("create", RESET, OSError("no route"))
    assert world.clone(vm) == "ready"
    assert world.provider.called("create") == [vm] * 3
    assert len(world.slept) == 2
    assert all(0 <= seconds <= 20 for seconds in world.slept)
    assert world.dead_letters("clone") == []


def test_a_throttling_provider_gets_the_pause_that_it_named(world: PoolWorld, vm: str) -> None:
    world.provider.raises("create", ThrottledProviderError("slower", 7.5), ThrottledProviderError("slower", 9999))
    assert world.clone(vm) == "ready"
    assert world.slept == [7.5, 60], "but no more than a minute is waited"


def test_a_throttling_provider_that_names_no_pause_gets_the_usual_one(world: PoolWorld, vm: str) -> None:
    world.provider.raises("create", ThrottledProviderError("slower"))
    assert world.clone(vm) == "ready"
    assert 0 <= world.slept[0] <= 1


def test_a_pool_that_is_not_configured_any_more_is_refused(world: PoolWorld, vm: str) -> None:
    world.pools = []
    with pytest.raises(InvalidInputError):
        world.clone(vm)


def test_the_log_follows_a_clone(world: PoolWorld, vm: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    world.clone(vm)
    seconds = world.metadata(vm)["clone_time"]
    assert caplog.messages == [
        f"[ ] [{POOL}] Starting to clone '{vm}'",
        f"[+] [{POOL}] '{vm}' cloned in {seconds} seconds",
        f"[>] [{POOL}] '{vm}' moved from 'pending' to 'ready' queue",
    ]
