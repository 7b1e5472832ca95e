"""VMs without a mark that a queue holds get the mark of this installation, as work outside the inspection."""

import pytest

from tests.support.marking_provider import OTHER_MARK, OWN, MarkingScripted
from tests.support.pool_world import PoolWorld, Scripted
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.jobs.ownership import marking
from vmpooler_tasks.jobs.ownership.marking import MARK_SECONDS, MAX_MARKS
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step

pytestmark = pytest.mark.both_servers


def mark(world: PoolWorld, vm: str) -> str:
    return str(marking.run(world.context, vm, POOL))


def later(world: PoolWorld) -> None:
    """Let the turn of the last marks end. It is the server's time."""
    world.client.delete(*world.client.keys("*lock__marks*"))
    world.now += MARK_SECONDS


def test_vms_in_ready_running_and_pending_get_the_mark(world: PoolWorld, provider: MarkingScripted) -> None:
    world.ready_vm("ready", 60)
    world.running_vm("running", 60)
    world.pending_vm("cloned", 60, clone_time="3.00")
    world.pending_vm("cloning", 60)
    world.completed_vm("completed")
    due = world.due(Step.MARK)
    assert sorted(due) == ["cloned", "ready", "running"]
    assert [mark(world, vm) for vm in due] == ["marked"] * 3
    assert {vm for vm, found in provider.marks.items() if found == OWN} == {"cloned", "ready", "running"}
    later(world)
    assert world.due(Step.MARK) == []
    assert mark(world, "cloning") == mark(world, "completed") == "left_queue"


def test_what_has_a_mark_keeps_it(world: PoolWorld, provider: MarkingScripted) -> None:
    provider.marks[world.running_vm("other", 60)] = OTHER_MARK
    assert world.due(Step.MARK) == []
    assert mark(world, "other") == "failed"
    assert provider.marks["other"] == OTHER_MARK


def test_marks_are_handed_out_in_parts(world: PoolWorld) -> None:
    for number in range(MAX_MARKS + 20):
        world.running_vm(f"vm-{number}", 60)
    first = world.due(Step.MARK)
    assert len(first) == MAX_MARKS
    assert world.due(Step.MARK) == []
    assert [mark(world, vm) for vm in first] == ["marked"] * MAX_MARKS
    later(world)
    assert len(world.due(Step.MARK)) == 20


@pytest.mark.parametrize("error", [PermanentProviderError("no permission"), TransientProviderError("reset"), OSError()])
def test_a_failure_stops_nothing_and_is_tried_again(
    world: PoolWorld, provider: MarkingScripted, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world.running_vm("running", 60)
    provider.raises("mark", error, always=True)
    for _ in range(8):
        assert mark(world, "running") == "failed"
    assert world.names_in(Queue.RUNNING) == {"running"}
    assert "'running' did not get the mark of this installation" in caplog.text
    assert world.inspect().error is None
    provider.raises("mark")
    later(world)
    assert world.due(Step.MARK) == ["running"]
    assert mark(world, "running") == "marked"


def test_a_vm_that_left_its_queue_or_its_provider_is_not_marked(world: PoolWorld, provider: MarkingScripted) -> None:
    world.running_vm("running", 60)
    world.vm(Queue.RUNNING, "gone", 60)
    assert world.due(Step.MARK) == ["running"]
    world.client.srem(f"vmpooler__running__{POOL}", "running")
    assert mark(world, "running") == "left_queue"
    assert provider.marks.get("running") is None
    assert mark(world, "gone") == "missing"


def test_nothing_is_marked_without_a_name_or_by_a_provider_that_has_no_marks(world: PoolWorld) -> None:
    world.running_vm("running", 60)
    world.config["installation"] = ""
    assert world.due(Step.MARK) == []
    world.config["installation"] = OWN
    world.provider = Scripted()
    world.provider.has("running")
    world.provider.marks["running"] = None
    assert world.due(Step.MARK) == []
    assert mark(world, "running") == "left_queue"
