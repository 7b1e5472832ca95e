"""A ready VM is kept as long as it can be handed out, and is never taken from a user who has just got it."""

import logging
import threading
from typing import Any

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import ProviderTimeoutError, SuspendedError, TransientProviderError, WrongTypeError
from vmpooler_tasks.jobs.inspection import checks
from vmpooler_tasks.jobs.pools import check_ready, guarded_calls
from vmpooler_tasks.jobs.pools.check_ready import UNREACHABLE
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.pools import breakers

VM = "pooler-a"
DEAD = Readiness(False, "no route to host", "HostUnreachable")


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=5)], config={"task_limit": 0})


def check(world: PoolWorld, vm: str = VM) -> str:
    return check_ready.check(world.context, vm, POOL)


def test_a_reachable_vm_stays_ready_and_its_check_is_recorded(world: PoolWorld) -> None:
    world.ready_vm(VM)
    assert check(world) == "ready"
    assert world.queues_of(VM) == [Queue.READY]
    assert world.metadata(VM)["check"] == "2024-01-15 10:30:00 +0000"


def test_an_unreachable_vm_leaves_a_dead_letter_and_is_destroyed(world: PoolWorld) -> None:
    world.ready_vm(VM, 3600)
    world.provider.default_readiness = DEAD
    assert check(world) == "failed"
    assert world.dead_letters("ready") == [
        {
            "vm": VM,
            "pool": POOL,
            "queue_from": "ready",
            "error_class": "HostUnreachable",
            "error_message": "no route to host",
            "failed_at": "2024-01-15T10:30:00Z",
            "retry_count": 0,
        }
    ]
    assert world.queues_of(VM) == [Queue.COMPLETED]
    assert world.count("vms_failed:ready") == 1
    assert world.round() == ["destroyed"]


@pytest.mark.parametrize(("noted", "expected"), [(None, UNREACHABLE), ("no reply", "no reply")])
def test_without_an_error_of_the_provider_the_dead_letter_shows_the_last_one(
    world: PoolWorld, noted: str | None, expected: str
) -> None:
    metadata: dict[str, Any] = {"open_socket_error": noted} if noted else {}
    world.ready_vm(VM, **metadata)
    world.provider.default_readiness = Readiness(False)
    assert check(world) == "failed"
    assert [entry["error_message"] for entry in world.dead_letters("ready")] == [expected]


def test_a_vm_that_is_gone_has_failed(world: PoolWorld) -> None:
    world.vm(Queue.READY, VM, 60)
    assert check(world) == "failed"
    assert [entry["error_class"] for entry in world.dead_letters("ready")] == ["VmNotFoundError"]


@pytest.mark.parametrize(("since", "is_due"), [(0, False), (59, False), (60, True)])
def test_a_vm_is_checked_once_per_vm_checktime(world: PoolWorld, since: int, is_due: bool) -> None:
    world.ready_vm(VM, 3600, check=world.stamp(since))
    assert world.due(Step.CHECK_READY) == ([VM] if is_due else [])
    check(world)
    assert bool(world.provider.called("ready")) is is_due


@pytest.mark.parametrize("checked", [None, "never", "2024-01-16 10:30:00 +0000"])
def test_a_vm_without_a_known_check_is_checked(world: PoolWorld, checked: str | None) -> None:
    world.ready_vm(VM, 3600, **({"check": checked} if checked else {}))
    assert world.due(Step.CHECK_READY) == [VM]


def test_a_checktime_of_0_checks_in_each_inspection(world: PoolWorld) -> None:
    world.config["vm_checktime"] = 0
    world.ready_vm(VM)
    for _ in range(2):
        assert world.due(Step.CHECK_READY) == [VM]
        check(world)
    assert len(world.provider.called("ready")) == 2


def test_a_failed_query_is_recorded_as_a_check(world: PoolWorld) -> None:
    world.ready_vm(VM)
    world.provider.default_readiness = DEAD
    check(world)
    assert world.metadata(VM)["check"] == world.stamp(0)


@pytest.mark.parametrize("moment", ["find", "ready"])
def test_a_vm_that_is_checked_out_during_its_check_stays_with_its_user(world: PoolWorld, moment: str) -> None:
    world.ready_vm(VM, 120)
    world.provider.default_readiness = DEAD
    world.provider.before(moment, lambda _: world.check_out(VM))
    assert check(world) == "left_queue"
    assert world.queues_of(VM) == [Queue.RUNNING]
    assert world.dead_letters("ready") == []
    assert world.count("vms_failed:ready") == 0


@pytest.mark.parametrize("operation", ["find", "ready"])
def test_a_provider_that_does_not_say_changes_nothing(world: PoolWorld, operation: str) -> None:
    world.ready_vm(VM, 120)
    world.provider.raises(operation, TransientProviderError("no"))
    with pytest.raises(TransientProviderError):
        check(world)
    assert world.queues_of(VM) == [Queue.READY]
    assert check(world) == "ready", "the next query comes with the next check, not at once"
    assert len(world.provider.called("find")) == 1
    world.now += 61
    assert check(world) == "ready"
    assert len(world.provider.called("find")) == 2


def test_repeated_failed_checks_suspend_the_provider(world: PoolWorld) -> None:
    world.config["breaker_failures"] = 3
    vms = [world.ready_vm(f"pooler-{number}", 120) for number in range(5)]
    world.provider.raises("find", TransientProviderError("no"), always=True)
    outcomes = []
    for work in world.inspect().work:
        with pytest.raises((SuspendedError, TransientProviderError)) as caught:
            world.deliver(work)
        outcomes.append(caught.type)
    assert outcomes == [TransientProviderError] * 3 + [SuspendedError] * 2
    world.now += 29
    assert world.inspect().work == [], "no checks are handed out meanwhile"
    assert [one.failures for one in breakers.suspended_providers(world.db, ["scripted"])] == [3]
    world.provider.raises("find")
    world.now += 61
    assert world.round() == ["ready"] * len(vms)
    assert breakers.suspended_providers(world.db, ["scripted"]) == []


def test_a_hang_suspends_the_provider_at_once(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_calls, "CHECK_SECONDS", 0.05)
    release = threading.Event()
    world.provider.before("find", lambda _: release.wait(30))
    world.ready_vm(VM, 120)
    with pytest.raises(ProviderTimeoutError):
        check(world)
    world.ready_vm("pooler-other", 120)
    with pytest.raises(SuspendedError):
        check_ready.check(world.context, "pooler-other", POOL)
    release.set()


def test_secrets_in_what_a_provider_says_are_kept_nowhere(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.ready_vm(VM)
    world.provider.default_readiness = Readiness(False, "ssh failed password=hunter2 for https://admin:s3cr3t@vm")
    assert check(world) == "failed"
    [dead_letter] = world.dead_letters("ready")
    assert dead_letter["error_message"] == "ssh failed password=[redacted] for https://[redacted]@vm"
    assert "hunter2" not in caplog.text
    assert "s3cr3t" not in caplog.text


def test_without_its_dead_letter_the_vm_stays(world: PoolWorld) -> None:
    world.ready_vm(VM)
    world.provider.default_readiness = DEAD
    world.client.set("vmpooler__dlq__ready", "x")
    with pytest.raises(WrongTypeError):
        check(world)
    assert world.queues_of(VM) == [Queue.READY]


def test_without_dead_letters_it_is_completed_all_the_same(world: PoolWorld) -> None:
    world.config["dlq_enabled"] = False
    world.ready_vm(VM)
    world.provider.default_readiness = DEAD
    assert check(world) == "failed"
    assert world.queues_of(VM) == [Queue.COMPLETED]
    assert not world.client.exists("vmpooler__dlq__ready")


def test_a_ready_vm_without_metadata_is_checked(world: PoolWorld) -> None:
    world.vm(Queue.READY, VM, None)
    world.provider.has(VM)
    assert world.due(Step.CHECK_READY) == [VM]
    assert check(world) == "ready"


def test_the_log_says_why_a_vm_left_ready(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    world.ready_vm(VM)
    world.provider.default_readiness = DEAD
    check(world)
    assert caplog.messages == [
        f"[!] [dlq] Moved '{VM}' from 'ready' queue to DLQ: no route to host",
        f"[!] [{POOL}] '{VM}' removed from 'ready' queue. vm unreachable with error: no route to host",
    ]


def test_an_inspection_hands_out_a_bounded_number_of_checks(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MAX_CHECKS", 3)
    vms = [world.ready_vm(f"pooler-{number}") for number in range(5)]
    assert world.round() == ["ready"] * 3
    assert world.round() == ["ready"] * 2
    assert sorted(world.provider.called("ready")) == vms
