"""A pending VM becomes ready or has taken too long."""

import logging
from typing import Any

import pytest

from tests.support.pool_world import MINUTE, WEEK, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import TransientProviderError, WrongTypeError
from vmpooler_tasks.jobs.pools import check_pending
from vmpooler_tasks.jobs.pools.check_pending import TIMED_OUT
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store import Database, keys

VM = "pooler-a"
BOOTING = Readiness(False, "connection refused")


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """A pool that starts no clones. Its VMs are not ready."""
    world = PoolWorld(db, pools=[pool(size=0)])
    world.provider.default_readiness = BOOTING
    return world


def check(world: PoolWorld, vm: str = VM) -> str:
    return check_pending.check(world.context, vm, POOL)


def test_a_vm_that_is_ready_moves_to_ready(world: PoolWorld) -> None:
    world.pending_vm(VM, 42)
    world.provider.default_readiness = Readiness(True)
    assert check(world) == "ready"
    assert world.queues_of(VM) == [Queue.READY]
    assert world.metadata(VM)["ready"] == "2024-01-15 10:30:00 +0000"
    assert world.client.hgetall("vmpooler__boot__2024-01-15") == {f"{POOL}:{VM}".encode(): b"42.00"}
    assert world.client.hget("vmpooler__lastboot", POOL) == b"2024-01-15 10:30:00 +0000"


def test_a_vm_that_is_ready_in_time_or_not_is_ready(world: PoolWorld) -> None:
    world.pending_vm(VM, 100 * MINUTE)
    world.provider.default_readiness = Readiness(True)
    assert check(world) == "ready"


def test_without_a_time_no_boot_is_counted(world: PoolWorld) -> None:
    world.vm(Queue.PENDING, VM, None)
    world.provider.has(VM)
    world.provider.default_readiness = Readiness(True)
    assert check(world) == "ready"
    assert not world.client.exists("vmpooler__boot__2024-01-15")


@pytest.mark.parametrize(("age", "outcome"), [(15 * MINUTE, "pending"), (15 * MINUTE + 1, "failed")])
def test_a_vm_has_failed_when_it_is_older_than_the_timeout(world: PoolWorld, age: int, outcome: str) -> None:
    world.pending_vm(VM, age)
    assert check(world) == outcome
    assert world.queues_of(VM) == [Queue.COMPLETED if outcome == "failed" else Queue.PENDING]


@pytest.mark.parametrize(
    ("entry", "config", "limit"),
    [
        ({}, {}, 15),
        ({}, {"timeout": 3}, 3),
        ({"timeout": 7}, {"timeout": 3}, 7),
        ({"timeout": 1}, {}, 1),
    ],
)
def test_the_timeout_is_the_pools_own_else_the_global_one(
    world: PoolWorld, entry: dict[str, Any], config: dict[str, Any], limit: int
) -> None:
    world.pools, world.config = [pool(size=0, **entry)], config
    world.pending_vm("pooler-at", limit * MINUTE)
    world.pending_vm("pooler-beyond", limit * MINUTE + 1)
    assert (check(world, "pooler-at"), check(world, "pooler-beyond")) == ("pending", "failed")


def test_a_vm_that_timed_out_leaves_a_dead_letter_and_is_destroyed(world: PoolWorld) -> None:
    world.pending_vm(VM, 901)
    check(world)
    assert world.dead_letters("pending") == [
        {
            "vm": VM,
            "pool": POOL,
            "queue_from": "pending",
            "error_class": "Timeout",
            "error_message": "connection refused",
            "failed_at": "2024-01-15T10:30:00Z",
            "retry_count": 0,
        }
    ]
    assert (world.count("dead_letters:pending"), world.count("vms_failed:pending")) == (1, 1)
    assert world.round() == ["destroyed"]
    assert VM not in world.provider.machines


@pytest.mark.parametrize(("noted", "expected"), [(None, TIMED_OUT), ("no route to host", "no route to host")])
def test_the_dead_letter_shows_the_last_error(world: PoolWorld, noted: str | None, expected: str) -> None:
    world.provider.default_readiness = Readiness(False)
    world.pending_vm(VM, 901, **({"open_socket_error": noted} if noted else {}))
    check(world)
    assert [entry["error_message"] for entry in world.dead_letters("pending")] == [expected]


def test_an_error_is_noted_with_the_vm(world: PoolWorld) -> None:
    world.pending_vm(VM, 60)
    assert check(world) == "pending"
    assert world.metadata(VM)["open_socket_error"] == "connection refused"


@pytest.mark.parametrize(("age", "is_told"), [(300, False), (301, True), (900, True)])
def test_a_vm_that_takes_long_is_warned_of_once(
    world: PoolWorld, age: int, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world.pending_vm(VM, age)
    for _ in range(3):
        check(world)
    left = (900 - age) / 60
    line = f"[!] [{POOL}] '{VM}' impending failure in {left:.0f} minutes with error: connection refused"
    assert caplog.messages == [line] * is_told
    assert world.metadata(VM).get("timeout_notification") == ("1" if is_told else None)


@pytest.mark.parametrize(
    ("entry", "config", "limit"),
    [({}, {"timeout_notification": 2}, 2), ({"timeout_notification": 3}, {"timeout_notification": 2}, 3)],
)
def test_the_warning_is_given_at_the_pools_own_time_else_the_global_one(
    world: PoolWorld, entry: dict[str, Any], config: dict[str, Any], limit: int
) -> None:
    world.pools, world.config = [pool(size=0, **entry)], config
    for vm, age in (("pooler-at", limit * MINUTE), ("pooler-beyond", limit * MINUTE + 1)):
        world.pending_vm(vm, age)
        check(world, vm)
    assert "timeout_notification" not in world.metadata("pooler-at")
    assert world.metadata("pooler-beyond")["timeout_notification"] == "1"


@pytest.mark.parametrize(
    ("entry", "config"),
    [({}, {"timeout_notification": 0}), ({"timeout_notification": 0}, {"timeout_notification": 2})],
)
def test_a_notice_after_0_minutes_is_never_given(
    world: PoolWorld, entry: dict[str, Any], config: dict[str, Any]
) -> None:
    world.pools, world.config = [pool(size=0, **entry)], config
    world.pending_vm(VM, 900)
    check(world)
    assert "timeout_notification" not in world.metadata(VM)


def test_a_vm_that_took_too_long_and_is_nowhere_is_just_removed(world: PoolWorld) -> None:
    world.vm(Queue.PENDING, VM, 901)
    assert check(world) == "removed"
    assert world.queues_of(VM) == []
    assert world.dead_letters("pending") == []
    assert WEEK - 60 < world.ttl(VM) <= WEEK


def test_a_vm_that_is_nowhere_yet_has_its_time(world: PoolWorld) -> None:
    world.vm(Queue.PENDING, VM, 900)
    assert check(world) == "pending"
    assert world.queues_of(VM) == [Queue.PENDING]


@pytest.mark.parametrize("operation", ["ready", "find"])
def test_a_provider_that_does_not_say_changes_nothing(world: PoolWorld, operation: str) -> None:
    world.pending_vm(VM, 901)
    world.provider.raises(operation, TransientProviderError("no"))
    with pytest.raises(TransientProviderError):
        check(world)
    assert world.queues_of(VM) == [Queue.PENDING]
    assert world.dead_letters("pending") == []


@pytest.mark.parametrize("readiness", [Readiness(True), BOOTING])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_vm_that_leaves_pending_during_its_check_is_not_touched(
    world: PoolWorld, readiness: Readiness, is_there: bool
) -> None:
    world.pending_vm(VM, 901)
    if not is_there:
        world.provider.machines.clear()
    world.provider.default_readiness = readiness
    world.provider.before("ready", lambda _: world.client.srem(keys.queue(Queue.PENDING, POOL), VM))
    assert check(world) == "left_queue"
    assert world.queues_of(VM) == []
    assert [world.dead_letters(queue) for queue in ("pending", "ready")] == [[], []]


def test_a_vm_that_others_made_ready_is_not_touched(world: PoolWorld) -> None:
    world.pending_vm(VM, 901)
    world.provider.before(
        "find",
        lambda _: world.client.smove(keys.queue(Queue.PENDING, POOL), keys.queue(Queue.READY, POOL), VM),
    )
    assert check(world) == "left_queue"
    assert world.queues_of(VM) == [Queue.READY]


def test_without_its_dead_letter_the_vm_stays(world: PoolWorld) -> None:
    world.pending_vm(VM, 901)
    world.client.hset("vmpooler__dlq__pending", "x", "y")
    with pytest.raises(WrongTypeError):
        check(world)
    assert world.queues_of(VM) == [Queue.PENDING]
    world.client.delete("vmpooler__dlq__pending")
    assert check(world) == "failed"
    assert len(world.dead_letters("pending")) == 1


def test_without_dead_letters_it_is_completed_all_the_same(world: PoolWorld) -> None:
    world.config = {"dlq_enabled": False}
    world.pending_vm(VM, 901)
    assert check(world) == "failed"
    assert world.queues_of(VM) == [Queue.COMPLETED]
    assert not world.client.exists("vmpooler__dlq__pending")


def test_the_same_vm_failing_twice_is_one_dead_letter(world: PoolWorld) -> None:
    world.pending_vm(VM, 901)
    check(world)
    world.client.smove(keys.queue(Queue.COMPLETED, POOL), keys.queue(Queue.PENDING, POOL), VM)
    check(world)
    assert len(world.dead_letters("pending")) == 1


def test_each_inspection_checks_all_pending_vms_except_clones_in_flight(world: PoolWorld) -> None:
    world.pools = [pool(size=2)]
    world.pending_vm(VM)
    [cloned] = world.clones()
    world.provider.has(cloned)
    assert world.due(Step.CHECK_PENDING) == [VM]
    world.now += 301
    assert world.due(Step.CHECK_PENDING) == sorted([VM, cloned]), "for the warning"
    check(world, cloned)
    assert world.due(Step.CHECK_PENDING) == [VM]


@pytest.mark.parametrize("name", ["pooler-a", b"\xff-name"])
def test_a_pending_vm_without_a_time_ages_from_the_first_inspection(world: PoolWorld, name: str | bytes) -> None:
    raw = world.vm(Queue.PENDING, name, None)
    world.inspect()
    assert world.client.hget(keys.vm(raw), "clone") == world.stamp(0).encode()
    world.now += 60
    world.inspect()
    assert world.client.hget(keys.vm(raw), "clone") == world.stamp(60).encode()


def test_an_invalid_name_is_logged_and_does_not_stop_other_checks(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.vm(Queue.PENDING, b"\xff", 60)
    world.pending_vm(VM, 60)
    assert world.due(Step.CHECK_PENDING) == [VM]
    assert caplog.messages == [f"[!] [{POOL}] b'\\xff' is not a valid name of a VM"]


def test_a_time_that_cannot_be_read_is_none(world: PoolWorld) -> None:
    world.pending_vm(VM, 0, clone="some day")
    assert check(world) == "pending"


def test_metadata_of_the_wrong_type_does_not_stop_other_checks(world: PoolWorld) -> None:
    world.pending_vm(VM, 60)
    world.client.sadd(keys.queue(Queue.PENDING, POOL), "pooler-z")
    world.client.set(keys.vm(b"pooler-z"), "x")
    assert world.due(Step.CHECK_PENDING) == [VM]


def test_the_log_says_what_became_of_a_pending_vm_on_one_line(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    world.provider.default_readiness = Readiness(False, "no\nway")
    world.pending_vm(VM, 901)
    check(world)
    world.vm(Queue.PENDING, "pooler-b", 901)
    check(world, "pooler-b")
    assert caplog.messages == [
        f"[!] [dlq] Moved '{VM}' from 'pending' queue to DLQ: no\\nway",
        f"[!] [{POOL}] '{VM}' marked as 'failed' after 15 minutes with error: no\\nway",
        f"[!] [{POOL}] 'pooler-b' no longer exists. Removing from pending.",
    ]


def test_a_check_does_not_hand_over_a_vm_whose_clone_is_running(world: PoolWorld) -> None:
    """Its ip and the time that it took would never be known, and its clone could still fail."""
    world.pools = [pool(size=1)]
    world.config["task_limit"] = 1
    [vm] = world.clones()
    world.provider.default_readiness = Readiness(True)
    seen: list[str] = []

    def looked_at(_: str) -> None:
        world.provider.has(vm)
        world.now += 6 * MINUTE
        seen.extend(check_pending.check(world.context, vm, POOL) for _ in range(2))
        world.provider.machines.pop(vm)

    world.provider.before("create", looked_at)
    assert world.clone(vm) == "ready"
    assert seen == ["pending"] * 2
    assert world.metadata(vm)["timeout_notification"] == "1"
    assert world.metadata(vm)["ip"] == "10.0.0.1"
