"""What a provider has and no queue names is found and destroyed; a list that fails or lacks something takes nothing."""

import logging
import threading

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import ProviderError, TransientProviderError
from vmpooler_tasks.jobs.inspection import inventory
from vmpooler_tasks.jobs.inspection.checks import MAX_DESTROYS
from vmpooler_tasks.jobs.inspection.strays import DISCOVERY_SECONDS
from vmpooler_tasks.model.names import INSPECTED_QUEUES, Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.both_servers

VM = "pooler-stray"
OTHER = "ubuntu-2004-x86_64"


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """A pool that starts no clones."""
    return PoolWorld(db, pools=[pool(size=5)], config={"task_limit": 0})


def everything(world: PoolWorld) -> set[str]:
    """A VM in each queue that the provider has."""
    world.pending_vm("pooler-p", 60)
    world.ready_vm("pooler-r", 60)
    world.running_vm("pooler-x", 60)
    world.completed_vm("pooler-c")
    return {"pooler-p", "pooler-r", "pooler-x", "pooler-c"}


def where_all_are(world: PoolWorld, vms: set[str]) -> dict[str, list[Queue]]:
    return {vm: world.queues_of(vm) for vm in sorted(vms)}


@pytest.mark.parametrize(
    "error", [TransientProviderError("no"), OSError("no route"), ValueError("a mistake"), KeyError("another")]
)
def test_an_inventory_that_fails_takes_nothing_for_gone(world: PoolWorld, error: Exception) -> None:
    vms = everything(world)
    before = where_all_are(world, vms)
    world.provider.raises("list", error, always=True)
    for _ in range(3):
        inspection = world.inspect()
        assert isinstance(inspection.error, ProviderError)
        assert str(error) in str(inspection.error)
        for work in inspection.work:  # what needs no inventory is checked nevertheless
            world.deliver(work)
        world.now += 20
    after = where_all_are(world, vms)
    assert {vm: after[vm] for vm in ("pooler-r", "pooler-x")} == {vm: before[vm] for vm in ("pooler-r", "pooler-x")}
    assert after["pooler-p"] == [Queue.READY], "it is ready, and was queried by name"
    assert after["pooler-c"] == [], "destroyed"


def test_a_failed_inventory_does_not_stop_the_inspection(world: PoolWorld) -> None:
    world.config = {}
    world.pools = [pool(size=2), pool(OTHER, size=1)]
    world.provider.raises("list", TransientProviderError("no"), always=True)
    world.client.hset("vmpooler__config__poolsize", POOL, 3)
    assert [work.step for work in world.inspect().work] == [Step.CLONE] * 3
    for index in range(4):
        world.ready_vm(f"pooler-{index}")
    world.inspect()
    assert len(world.names_in(Queue.COMPLETED)) == 1
    assert len(world.clones(OTHER)) == 1


def test_the_log_says_why_an_inventory_failed(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.provider.raises("list", TransientProviderError("no\nway"))
    world.ready_vm("pooler-r")
    world.inspect()
    assert caplog.messages == [f"[!] [{POOL}] Its inventory could not be read: TransientProviderError: no\\nway"]


def test_an_inventory_that_hangs_is_abandoned(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(inventory, "LIST_SECONDS", 0.05)
    world.provider.before("list", lambda _: release.wait(30))
    inspection = world.inspect()
    release.set()
    assert str(inspection.error) == "no reply within 0.05 seconds"
    calls = len(world.provider.called("list"))
    world.inspect()
    assert len(world.provider.called("list")) == calls, "a hang suspends it at once"


def test_after_a_failed_inventory_one_reader_at_a_time_tries_it(world: PoolWorld) -> None:
    world.pools = [pool(), pool("other")]
    world.provider.raises("list", TransientProviderError("down"))
    world.inspect()
    seen = []

    def beside(_: str) -> None:
        world.provider.before("list", None)
        seen.append(world.inspect("other").error)

    world.provider.before("list", beside)
    assert world.inspect().error is None
    assert seen == [None]
    assert len(world.provider.called("list")) == 2
    world.inspect("other")
    assert len(world.provider.called("list")) == 3, "that ends with a successful inventory"


def test_what_half_a_list_leaves_out_is_not_gone(world: PoolWorld) -> None:
    vms = everything(world)
    world.provider.hidden = vms
    world.round()
    assert world.queues_of("pooler-p") == [Queue.READY]
    assert world.queues_of("pooler-r") == [Queue.READY]
    assert world.queues_of("pooler-x") == [Queue.RUNNING]
    assert "pooler-x" in world.provider.called("find")
    assert world.dead_letters("ready") == []


def test_a_completed_vm_missing_from_half_an_inventory_is_destroyed(world: PoolWorld) -> None:
    vms = everything(world)
    world.provider.hidden = vms
    world.round()
    assert "pooler-c" not in world.provider.machines


def test_a_stray_is_discovered_then_completed_then_destroyed(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    world.inspect()
    world.provider.has(VM)
    world.has_metadata(VM)
    assert world.round() == []
    assert world.queues_of(VM) == []
    world.now += DISCOVERY_SECONDS - 1
    world.round()
    assert world.queues_of(VM) == [], "it may be on its way from ready to running"
    world.now += 1
    world.round()
    assert world.queues_of(VM) == [Queue.DISCOVERED]
    assert world.round() == ["destroyed"]
    assert world.queues_of(VM) == []
    assert world.provider.machines == {}
    assert caplog.messages[1:3] == [
        f"[!] [{POOL}] '{VM}' added to 'discovered' queue",
        f"[!] [{POOL}] '{VM}' was in no queue: moved from 'discovered' to 'completed'",
    ]


def test_a_vm_that_the_api_server_is_just_moving_is_not_discovered(world: PoolWorld) -> None:
    world.ready_vm(VM, 60, check=world.stamp(0))
    world.client.srem(keys.queue(Queue.READY, POOL), VM)
    world.round()
    world.now += 5
    world.client.sadd(keys.queue(Queue.RUNNING, POOL), VM)
    world.client.hset(keys.active(POOL), VM, world.stamp(0))
    world.round()
    world.client.srem(keys.queue(Queue.RUNNING, POOL), VM)
    world.now += 3600
    world.round()
    assert world.queues_of(VM) == [], "the time since it was first seen starts again"


def test_a_vm_that_is_put_into_a_queue_at_the_last_moment_is_not_discovered(world: PoolWorld) -> None:
    world.provider.has(VM)
    world.round()
    world.now += 60
    world.provider.before("list", lambda _: world.client.sadd(keys.queue(Queue.RUNNING, POOL), VM))
    world.inspect()
    assert world.queues_of(VM) == [Queue.RUNNING]


@pytest.mark.parametrize("queue", INSPECTED_QUEUES)
def test_a_vm_in_any_queue_is_no_stray(world: PoolWorld, queue: Queue) -> None:
    world.provider.has(VM)
    world.inspect()
    world.vm(queue, VM, 60)
    world.now += 60
    world.inspect()
    assert world.queues_of(VM) == [Queue.COMPLETED if queue is Queue.DISCOVERED else queue]


@pytest.mark.parametrize("known", ["configured", "registered", "recorded"])
@pytest.mark.parametrize("queue", list(Queue))
def test_a_vm_in_a_queue_of_another_pool_is_left_to_that_one(world: PoolWorld, queue: Queue, known: str) -> None:
    world.inspect()
    match known:
        case "configured":
            world.pools.append(pool(OTHER))
        case "registered":
            world.client.sadd(keys.POOLS, OTHER)
        case "recorded":
            world.client.hset(keys.MANAGED_POOLS.decode(), OTHER, "{}")
    world.vm(queue, VM, 60, OTHER)
    world.provider.has(VM)
    for _ in range(4):
        world.inspect()
        world.now += 60
    assert world.members(queue, OTHER) == {VM.encode()}
    assert world.queues_of(VM) in ([], [queue]), "of no queue of the pool that was inspected"


@pytest.mark.parametrize("metadata", [None, POOL, OTHER, "of the wrong type"])
def test_a_stray_with_metadata_is_discovered_whatever_it_says(world: PoolWorld, metadata: str | None) -> None:
    world.pools.append(pool(OTHER))
    world.inspect()
    world.provider.has(VM)
    if metadata in (POOL, OTHER):
        world.has_metadata(VM)
        world.client.hset(keys.vm(VM.encode()), "pool", metadata)
    elif metadata:
        world.client.set(keys.vm(VM.encode()), "x")
    world.inspect()
    world.now += 60
    world.inspect()
    assert world.queues_of(VM) == ([Queue.DISCOVERED] if metadata in (POOL, OTHER) else []), "held if it has none"


def test_a_vm_whose_clone_is_under_way_is_no_stray(world: PoolWorld) -> None:
    world.config = {}
    [vm, *_] = world.clones()
    inspections: list[list[Queue]] = []

    def slowly(name: str) -> None:
        world.provider.has(vm)
        for _ in range(4):
            world.now += 20
            world.inspect()
            inspections.append(world.queues_of(vm))
        world.provider.machines.clear()  # the snapshot is older than the inventory that is returned now

    world.provider.before("create", slowly)
    assert world.clone(vm) == "ready"
    assert inspections == [[Queue.PENDING]] * 4


def test_a_thousand_strays_are_discovered_in_one_inspection(world: PoolWorld) -> None:
    world.config = {"task_limit": 0, "destroy_max_percent": 100}
    world.inspect()
    strays = [f"pooler-{index}" for index in range(1201)]
    world.provider.has(*strays)
    world.has_metadata(*strays)
    world.inspect()
    world.now += 60
    world.inspect()
    assert len(world.names_in(Queue.DISCOVERED)) == 1201
    assert len(world.due(Step.DESTROY)) == MAX_DESTROYS
    assert len(world.names_in(Queue.COMPLETED)) == 1201


def test_what_was_discovered_is_completed_only_when_the_inventory_can_be_read(world: PoolWorld) -> None:
    world.vm(Queue.DISCOVERED, VM, 60)
    world.provider.raises("list", TransientProviderError("no"))
    world.inspect()
    assert world.queues_of(VM) == [Queue.DISCOVERED]
    world.inspect()
    assert world.queues_of(VM) == [Queue.COMPLETED]
