"""A clone that fails leaves one dead letter and a free slot, and nothing else."""

import threading
from collections.abc import Iterator

import pytest

from tests.support.pool_world import MISSING, RESET, WEEK, PoolWorld, pool
from tests.support.processes import until
from tests.support.promises import dead_letters
from tests.support.world import POOL
from vmpooler_tasks.errors import (
    PermanentProviderError,
    ProviderError,
    ProviderTimeoutError,
    ThrottledProviderError,
    TransientProviderError,
    WrongTypeError,
)
from vmpooler_tasks.jobs.pools import clone
from vmpooler_tasks.jobs.pools.clone import CloneFailure, NoAddressError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.pools import breakers


def deliver(world: PoolWorld, vm: str) -> str:
    return world.deliver(Work(Step.CLONE, vm, POOL))


def test_a_failed_clone_leaves_one_dead_letter_and_is_gone(world: PoolWorld, vm: str) -> None:
    world.provider.raises("create", RESET, always=True)
    started, world.now = world.now, world.now + 90
    assert deliver(world, vm) == "TransientProviderError"
    assert world.dead_letters("clone") == [
        {
            "vm": vm,
            "pool": POOL,
            "queue_from": "clone",
            "error_class": "TransientProviderError",
            "error_message": "the connection was reset",
            "failed_at": dead_letter_time(world),
            "retry_count": 0,
        }
    ]
    assert world.client.zrange("vmpooler__dlq__clone", 0, -1, withscores=True)[0][1] == int(world.now) > started
    assert world.queues_of(vm) == [], "not in completed either: it was not made"
    assert world.slots() == 0
    assert not world.client.exists(keys.work(vm.encode()))


def dead_letter_time(world: PoolWorld) -> str:
    return world.stamp(0).replace(" +0000", "Z").replace(" ", "T")


def test_what_failed_is_kept_with_the_vm_for_data_ttl(world: PoolWorld, vm: str) -> None:
    world.data_ttl = 2
    world.provider.raises("create", RESET, always=True)
    deliver(world, vm)
    found = world.metadata(vm)
    assert (found["clone_error"], found["clone_error_class"]) == (
        "the connection was reset",
        "TransientProviderError",
    )
    assert found["pool"] == POOL
    assert 2 * 3600 - 60 < world.ttl(vm) <= 2 * 3600


def test_the_next_inspection_replaces_it(world: PoolWorld, vm: str) -> None:
    world.provider.raises("create", MISSING)
    deliver(world, vm)
    [other] = world.clones()
    assert other != vm
    assert world.deliver(Work(Step.CLONE, other, POOL)) == "ready"


def test_an_error_that_may_pass_is_tried_three_times(world: PoolWorld, vm: str) -> None:
    world.provider.raises("create", RESET, always=True)
    deliver(world, vm)
    assert world.provider.called("create") == [vm] * 3
    assert len(world.slept) == 2


@pytest.mark.parametrize(
    "error",
    [
        MISSING,
        PermanentProviderError("whatever it says"),
        RuntimeError("Permission to clone was denied"),
        ValueError("a bad argument"),
        TypeError("a mistake"),
    ],
)
def test_a_permanent_error_is_not_tried_again(world: PoolWorld, vm: str, error: Exception) -> None:
    world.provider.raises("create", error, always=True)
    assert deliver(world, vm) == type(error).__name__
    assert world.provider.called("create") == [vm]
    assert world.slept == []
    assert [entry["error_message"] for entry in world.dead_letters("clone")] == [str(error)]


def test_a_provider_that_says_that_it_may_pass_is_believed(world: PoolWorld, vm: str) -> None:
    world.provider.raises("create", TransientProviderError("template not found in the cache"))
    assert deliver(world, vm) == "ready"


def test_a_failure_reported_twice_is_one_dead_letter(world: PoolWorld, vm: str) -> None:
    assert world.fail(vm, RESET)
    before = world.snapshot()
    world.now += 5
    assert not world.fail(vm, RESET)
    assert not world.fail(vm, RESET, owner="another process that saw it")
    assert world.snapshot() == before
    assert world.count("dead_letters:clone") == world.count("clones_failed") == 1


def test_two_vms_that_fail_alike_are_two_dead_letters(world: PoolWorld) -> None:
    for name in world.clones():
        world.fail(name, RESET)
    assert len({entry["id"] for entry in dead_letters(world, "clone")}) == 2


def test_a_clone_that_fails_after_leaving_pending_is_one_dead_letter(world: PoolWorld, vm: str) -> None:
    world.client.srem(keys.queue(Queue.PENDING, POOL), vm)
    assert not world.fail(vm, RESET)
    assert not world.fail(vm, RESET)
    assert len(world.dead_letters("clone")) == 1
    assert world.slots() == 0
    assert "clone_error" not in world.metadata(vm)


def test_another_tasks_failure_does_not_fail_what_this_one_is_making(world: PoolWorld, vm: str) -> None:
    failed: list[bool] = []
    world.provider.before("create", lambda _: failed.append(world.fail(vm, RESET, owner="task-2")))
    assert world.clone(vm, owner="task-1") == "ready"
    assert failed == [False]
    assert world.dead_letters("clone") == []


def test_without_an_address_it_is_a_failure(world: PoolWorld, vm: str) -> None:
    world.provider.without_address = True
    assert deliver(world, vm) == "NoAddressError"
    [dead_letter] = world.dead_letters("clone")
    assert dead_letter["error_class"] == "StandardError"
    assert dead_letter["error_message"].startswith("failed to obtain IP after 0.")
    assert world.queues_of(vm) == []
    assert "clone_time" not in world.metadata(vm)


def test_a_vm_that_was_made_and_failed_is_found_and_destroyed(world: PoolWorld, vm: str) -> None:
    world.pools = [pool(size=1)]
    world.provider.without_address = True
    deliver(world, vm)
    world.provider.without_address = False
    assert vm in world.provider.machines
    for _ in range(4):
        world.round()
        world.now += 11
    assert vm not in world.provider.machines
    assert len(world.names_in(Queue.READY)) == 1


def test_without_dead_letters_it_fails_all_the_same(world: PoolWorld, vm: str) -> None:
    world.config = {"dlq_enabled": False}
    world.provider.raises("create", MISSING)
    deliver(world, vm)
    assert world.queues_of(vm) == []
    assert world.slots() == 0
    assert world.metadata(vm)["clone_error"] == str(MISSING)
    assert not world.client.exists("vmpooler__dlq__clone")
    assert world.count("dead_letters:clone") == 0


def test_without_its_dead_letter_the_vm_stays_and_is_cloned_again(world: PoolWorld, vm: str) -> None:
    world.client.set("vmpooler__dlq__clone", "x")
    world.provider.raises("create", MISSING)
    with pytest.raises(PermanentProviderError):
        world.clone(vm)
    before = world.snapshot()
    with pytest.raises(WrongTypeError, match="vmpooler__"):
        world.fail(vm, MISSING)
    after = world.snapshot()
    assert {key: after[key] for key in before} == before
    assert world.queues_of(vm) == [Queue.PENDING]
    world.client.delete("vmpooler__dlq__clone")
    world.now += 60
    assert [world.deliver(work) for work in world.reap()] == ["ready"]


def test_the_oldest_dead_letters_leave_to_make_room(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.pools, world.config = [pool(size=4)], {"dlq_max_entries": 3}
    for index, name in enumerate(world.clones()):
        world.now += index
        world.fail(name, RESET)
    assert len(world.dead_letters("clone")) == 3
    assert world.count("dead_letters_dropped:clone") == 1
    assert "[!] [dlq] Dropped the 1 oldest of 'clone': more than dlq_max_entries (3)" in caplog.messages


def test_the_log_says_why_a_clone_failed_on_one_line(
    world: PoolWorld, vm: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.provider.raises("create", PermanentProviderError("no\nroom"))
    deliver(world, vm)
    assert caplog.messages == [
        f"[!] [{POOL}] '{vm}' clone failed: PermanentProviderError: no\\nroom",
        f"[!] [dlq] Moved '{vm}' from 'clone' queue to DLQ: no\\nroom",
    ]


def test_a_failure_in_a_pool_that_is_not_configured_any_more_is_kept(world: PoolWorld, vm: str) -> None:
    world.pools = [pool("other")]
    assert clone.fail(world.context, vm, POOL, CloneFailure.of(RESET), "task-1")
    assert [entry["vm"] for entry in world.dead_letters("clone")] == [vm]
    assert world.members(Queue.PENDING) == set()
    assert world.slots() == 0


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (NoAddressError("failed to obtain IP"), CloneFailure("StandardError", "failed to obtain IP", permanent=False)),
        (MISSING, CloneFailure("PermanentProviderError", str(MISSING), permanent=True)),
        (RESET, CloneFailure("TransientProviderError", str(RESET), permanent=False)),
        (ThrottledProviderError("slower"), CloneFailure("ThrottledProviderError", "slower", permanent=False)),
        (ValueError("bad"), CloneFailure("ValueError", "bad", permanent=True)),
        (ProviderError(), CloneFailure("ProviderError", "the provider failed", permanent=False)),
    ],
)
def test_a_failure_is_shown_by_its_class_and_message(error: Exception, shown: CloneFailure) -> None:
    assert CloneFailure.of(error) == shown


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (PermanentProviderError("no such network"), True),
        (TransientProviderError("the folder was not found just now"), False),
    ],
)
def test_a_provider_that_says_what_kind_an_error_is_is_believed(error: Exception, permanent: bool) -> None:
    assert CloneFailure.of(error).permanent is permanent


@pytest.fixture
def hanging(world: PoolWorld) -> Iterator[threading.Event]:
    """The provider hangs until this is set; a clone has 60 milliseconds."""
    release = threading.Event()
    world.pools, world.config = [pool(size=1, timeout=0.001)], {"timeout": 0.001}
    world.provider.before("create", lambda _: release.wait(30))
    yield release
    release.set()


def test_a_provider_that_hangs_is_abandoned(world: PoolWorld, hanging: threading.Event) -> None:
    [vm] = world.clones()
    assert deliver(world, vm) == "ProviderTimeoutError"
    [dead_letter] = world.dead_letters("clone")
    assert (dead_letter["error_class"], dead_letter["error_message"]) == (
        "ProviderTimeoutError",
        "no reply within 0.06 seconds",
    )
    assert world.queues_of(vm) == []
    assert world.slots() == 0


def test_a_vm_that_is_made_when_nobody_waits_any_more_is_not_forgotten(
    world: PoolWorld, hanging: threading.Event
) -> None:
    [vm] = world.clones()
    deliver(world, vm)
    world.pools = [pool(size=0)]
    hanging.set()
    until(lambda: vm in world.provider.machines, "the provider has made it")
    assert world.queues_of(vm) == []
    for _ in range(4):
        world.round()
        world.now += 11
    assert world.provider.machines == {}


def test_a_timeout_counts_for_the_breaker(world: PoolWorld, hanging: threading.Event) -> None:
    world.config["breaker_failures"] = 1
    [vm] = world.clones()
    deliver(world, vm)
    assert [one.name for one in breakers.suspended_providers(world.db, ["scripted"])] == ["scripted"]


def test_a_failure_that_a_timeout_left_behind_is_permanent_for_nobody() -> None:
    assert not CloneFailure.of(ProviderTimeoutError("no reply within 5 seconds")).permanent


def test_metadata_of_a_failed_vm_is_kept_for_a_week_by_default(world: PoolWorld, vm: str) -> None:
    world.fail(vm, RESET)
    assert WEEK - 60 < world.ttl(vm) <= WEEK
