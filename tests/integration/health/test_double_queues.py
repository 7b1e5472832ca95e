"""VMs in two queues degrade health, with the names of the queues. A VM that moves is no such VM."""

import pytest

from tests.support.fleet import record_processes
from tests.support.health_checks import OTHER, QUIET, check, reasons, sized
from tests.support.world import POOL, World, settings
from vmpooler_tasks.cli.doctor.diagnosis import diagnose
from vmpooler_tasks.jobs.health import double_queues
from vmpooler_tasks.jobs.health.double_queues import QueuedNames, find_double_queued
from vmpooler_tasks.model.health.explanation import HealthReason, explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys

VM = "pooler-a"
BOTH = settings(pools=(POOL, OTHER), **QUIET)


def put(world: World, *places: tuple[Queue, str], vm: str = VM) -> None:
    for queue, pool in places:
        world.vm(queue, vm, 60, pool)


def found(world: World) -> HealthReason:
    report = check(world, BOTH)
    [reason] = report.assessment.reasons
    assert report.assessment.status is Status.DEGRADED
    assert reason.code == "vm_in_two_queues"
    return reason


@pytest.mark.parametrize(
    "other", [(Queue.RUNNING, POOL), (Queue.COMPLETED, POOL), (Queue.DISCOVERED, POOL), (Queue.READY, OTHER)]
)
def test_a_vm_in_two_queues_degrades_health_and_is_named(world: World, other: tuple[Queue, str]) -> None:
    put(world, (Queue.READY, POOL), other)
    reason = found(world)
    names = sorted(keys.queue(*place).decode() for place in ((Queue.READY, POOL), other))
    assert (reason.measured, reason.error) == (1, VM)
    assert (reason.key or "").replace(" and 1 more", "").split(", ") == names
    text, remedy = explain(reason)
    assert VM in text
    assert names[0] in text
    assert "manage_pools" in remedy


def test_a_pool_that_no_configuration_names_counts(world: World) -> None:
    put(world, (Queue.RUNNING, "gone"), (Queue.READY, POOL))
    [reason] = [one for one in check(world, BOTH).assessment.reasons if one.code == "vm_in_two_queues"]
    assert reason.key == f"vmpooler__ready__{POOL}, vmpooler__running__gone"


def test_each_pair_of_queues_is_a_reason_with_its_number(world: World) -> None:
    for number in range(5):
        put(world, (Queue.READY, POOL), (Queue.RUNNING, POOL), vm=f"pooler-{number}")
    put(world, (Queue.PENDING, OTHER), (Queue.COMPLETED, OTHER))
    report = check(world, BOTH)
    assert reasons(report) == [("vm_in_two_queues", POOL), ("vm_in_two_queues", OTHER)]
    first, second = report.assessment.reasons
    assert (first.measured, first.error) == (5, "pooler-0, pooler-1, pooler-2 and 2 more")
    assert (second.measured, second.error) == (1, VM)


def test_migrating_is_no_second_queue(world: World) -> None:
    put(world, (Queue.RUNNING, POOL), (Queue.MIGRATING, POOL))
    assert check(world, BOTH).assessment.reasons == ()


def test_a_vm_that_moves_during_the_walk_is_in_one_queue(world: World) -> None:
    """It is met in ready and then in running, and was never in both."""
    put(world, (Queue.RUNNING, POOL))
    known = [keys.queue(queue, POOL) for queue in (Queue.READY, Queue.RUNNING)]
    met = QueuedNames()
    for key in known:
        met.add(key, {hash(VM.encode())})
    assert met.suspects == {known[1]: {hash(VM.encode())}}
    assert find_double_queued(world.db, met, known) == []
    put(world, (Queue.READY, POOL))
    assert [one.vms for one in find_double_queued(world.db, met, known)] == [[VM]]


def test_very_many_are_reported_as_the_most_that_are_looked_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(double_queues, "MAX_SUSPECTS", 1500)
    names = [f"pooler-{number}" for number in range(3000)]
    for queue in (Queue.READY, Queue.RUNNING):
        world.client.sadd(keys.queue(queue, POOL), *names)
    [reason] = [one for one in check(world, BOTH).assessment.reasons if one.code == "vm_in_two_queues"]
    assert reason.measured == 1500


def test_odd_names_and_a_queue_of_the_wrong_type_hide_nothing(world: World) -> None:
    world.client.set(keys.queue(Queue.COMPLETED, OTHER), "x")
    for queue in (Queue.READY, Queue.RUNNING):
        world.client.sadd(keys.queue(queue, POOL), b"\xff\n")
    codes = {reason.code: reason for reason in check(world, BOTH).assessment.reasons}
    assert codes.keys() == {"vm_in_two_queues", "unreadable_keys"}
    assert codes["vm_in_two_queues"].error == "\\xff\\n"


def test_it_ends_when_each_vm_is_in_one_queue(world: World) -> None:
    put(world, (Queue.READY, POOL), (Queue.RUNNING, POOL))
    found(world)
    world.client.srem(keys.queue(Queue.READY, POOL), VM)
    assert check(world, BOTH).assessment.reasons == ()


def test_doctor_names_the_vms_and_their_queues(world: World) -> None:
    record_processes(world.db)
    world.client.sadd(keys.POOLS, "registered")
    put(world, (Queue.READY, POOL), (Queue.RUNNING, POOL))
    put(world, (Queue.READY, POOL), (Queue.COMPLETED, "registered"), vm="pooler-b")
    findings = [one for one in diagnose(BOTH, world.db) if one.what == "queues"]
    assert [one.found for one in findings] == [
        f"1 VMs are in vmpooler__ready__{POOL} and vmpooler__completed__registered at once: pooler-b",
        f"1 VMs are in vmpooler__ready__{POOL} and vmpooler__running__{POOL} at once: {VM}",
    ]
    assert {one.remedy for one in findings} == {"see the runbook of vm_in_two_queues"}
    for queue in (Queue.READY, Queue.RUNNING):
        world.client.delete(keys.queue(queue, POOL))
    assert [one for one in diagnose(sized(), world.db) if one.what == "queues"] == []
