"""A VM that is in two queues, of one pool or of two, is repaired by an inspection before any work is handed out."""

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.pool_world import HOUR, PoolWorld, pool
from tests.support.request_world import DELIVERED, HASH, ID, ITEMS, PROCESSING, members
from tests.support.world import POOL
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.jobs.inspection import double_queues as step
from vmpooler_tasks.jobs.pools import destroy
from vmpooler_tasks.model.guards.double_queue import QueuePlace, VmFacts
from vmpooler_tasks.model.names import INSPECTED_QUEUES, Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.guards import double_queues

pytestmark = pytest.mark.both_servers

VM, OTHER = "pooler-a", "ubuntu-2004-x86_64"
PENDING, READY, RUNNING, COMPLETED = Queue.PENDING, Queue.READY, Queue.RUNNING, Queue.COMPLETED


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """Two pools that start no clones."""
    return PoolWorld(db, pools=[pool(size=5), pool(OTHER, size=5)], config={"task_limit": 0})


def put(world: PoolWorld, *places: Queue | tuple[Queue, str], home: str = POOL, **metadata: str) -> None:
    """Put the VM into these queues; of the pool POOL where none is named."""
    stamps = {"clone": world.stamp(60), "ready": world.stamp(60), "check": world.stamp(0)}
    world.client.hset(keys.vm(VM.encode()), mapping={"pool": home, "template": home, **stamps, **metadata})
    for place in places:
        queue, name = (place, POOL) if isinstance(place, Queue) else place
        world.client.sadd(keys.queue(queue, name), VM)
    world.provider.has(VM, pool=home)


def places(world: PoolWorld) -> list[tuple[Queue, str]]:
    return [
        (queue, one.name) for one in world.pools for queue in INSPECTED_QUEUES if VM in world.names_in(queue, one.name)
    ]


@pytest.mark.parametrize("other", [PENDING, READY])
def test_a_vm_in_use_leaves_what_could_give_it_to_a_second_user(
    world: PoolWorld, other: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    put(world, RUNNING, other, checkout=world.stamp(60))
    work = world.inspect().work
    assert places(world) == [(RUNNING, POOL)]
    assert work == []
    assert (
        f"[!] [{POOL}] '{VM}' was in more than one queue: it stays in 'running', and is removed from"
        f" '{other}' of '{POOL}'" in caplog.messages
    )
    assert world.metadata(VM)["checkout"] == world.stamp(60)


def test_a_vm_in_use_is_not_destroyed(world: PoolWorld) -> None:
    put(world, RUNNING, COMPLETED, checkout=world.stamp(60))
    for _ in range(3):
        assert "destroyed" not in world.round()
        world.now += 20
    assert places(world) == [(RUNNING, POOL)]
    assert VM in world.provider.machines


@pytest.mark.parametrize("why", ["no checkout", "past its lifetime", "its destruction has started"])
def test_a_vm_that_no_user_has_is_destroyed(world: PoolWorld, why: str) -> None:
    metadata = {
        "no checkout": {},
        "past its lifetime": {"checkout": world.stamp(25 * HOUR)},
        "its destruction has started": {"checkout": world.stamp(60), "destroy": world.stamp(30)},
    }[why]
    put(world, RUNNING, COMPLETED, **metadata)
    assert world.due(Step.DESTROY) == [VM]
    assert places(world) == [(COMPLETED, POOL)]


@pytest.mark.parametrize("other", [PENDING, READY])
def test_a_completed_vm_is_given_to_nobody(world: PoolWorld, other: Queue) -> None:
    put(world, COMPLETED, other)
    assert world.due(Step.DESTROY) == [VM]
    assert places(world) == [(COMPLETED, POOL)]


@pytest.mark.parametrize("first", [PENDING, READY, RUNNING, COMPLETED])
@pytest.mark.parametrize("second", [PENDING, READY, RUNNING, COMPLETED])
def test_a_vm_in_two_pools_stays_in_one(world: PoolWorld, first: Queue, second: Queue) -> None:
    put(world, (first, POOL), (second, OTHER), checkout=world.stamp(60))
    world.inspect()
    world.inspect(OTHER)
    [(queue, _)] = places(world)
    order = [RUNNING, COMPLETED, READY, PENDING]
    assert queue is min(first, second, key=order.index)


@pytest.mark.parametrize("home", [POOL, OTHER, "elsewhere"])
@pytest.mark.parametrize("inspected", [POOL, OTHER])
def test_before_either_pool_destroys_it_a_vm_that_another_pool_runs_is_kept(
    world: PoolWorld, home: str, inspected: str
) -> None:
    put(world, (COMPLETED, POOL), (RUNNING, OTHER), home=home, checkout=world.stamp(60))
    if home == "elsewhere" or home != inspected:
        assert world.due(Step.DESTROY, inspected) == []
    world.inspect(POOL if home != POOL else OTHER)
    assert places(world) == [(RUNNING, OTHER)]


def test_the_same_queue_of_two_pools_is_left_to_the_vms_own(world: PoolWorld) -> None:
    put(world, (RUNNING, POOL), (RUNNING, OTHER), home=OTHER, checkout=world.stamp(60))
    world.client.hset(keys.active(POOL), VM, world.stamp(60))
    world.client.hset(keys.active(OTHER), VM, world.stamp(60))
    world.inspect()
    assert places(world) == [(RUNNING, OTHER)]
    assert not world.client.hexists(keys.active(POOL), VM)
    assert world.client.hexists(keys.active(OTHER), VM)


def test_a_pool_that_is_only_registered_counts(world: PoolWorld) -> None:
    put(world, (READY, POOL), (RUNNING, "registered"), home="registered", checkout=world.stamp(60))
    world.client.sadd(keys.POOLS, "registered")
    world.inspect()
    assert places(world) == []
    assert world.names_in(RUNNING, "registered") == {VM}


def test_a_vm_without_metadata_is_looked_up_in_all_pools(world: PoolWorld) -> None:
    world.client.sadd(keys.queue(READY, POOL), VM)
    world.client.sadd(keys.queue(RUNNING, OTHER), VM)
    world.provider.has(VM)
    world.inspect()
    assert places(world) == [(RUNNING, OTHER)]


def test_migrating_is_no_second_queue(world: PoolWorld) -> None:
    put(world, RUNNING, Queue.MIGRATING, checkout=world.stamp(60))
    world.provider.raises("list", TransientProviderError("no"))
    world.inspect()
    assert places(world) == [(RUNNING, POOL)]
    assert VM in world.names_in(Queue.MIGRATING)


def test_it_needs_no_inventory(world: PoolWorld) -> None:
    world.provider.raises("list", TransientProviderError("no"), always=True)
    put(world, RUNNING, READY, checkout=world.stamp(60))
    world.inspect()
    assert places(world) == [(RUNNING, POOL)]


def test_a_checkout_between_the_reads_is_no_fault(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    """The inspection comes between any two commands of a checkout, a failed one that is taken back, and a delete."""
    server = ApiClient(world.client, [ApiPool(POOL)], clock=world.clock)
    server.before_command = lambda _: world.inspect()
    put(world, READY)
    assert server.checkout({POOL: 2}).status == 503
    assert places(world) == [(READY, POOL)]
    assert server.checkout({POOL: 1}).vms == (VM,)
    assert places(world) == [(RUNNING, POOL)]
    assert server.delete_vm(VM).ok
    assert places(world) == [(COMPLETED, POOL)]
    assert "more than one queue" not in caplog.text


@pytest.mark.parametrize("change", ["it left the winner", "checkout", "lifetime", "destroy", "active"])
def test_what_changed_since_it_was_read_is_decided_anew(world: PoolWorld, change: str) -> None:
    put(world, RUNNING, COMPLETED, checkout=world.stamp(60))
    found = [QueuePlace(RUNNING, POOL), QueuePlace(COMPLETED, POOL)]
    known: VmFacts = double_queues.read_facts(world.db, {VM.encode(): found}, 24)[VM.encode()]
    if change == "it left the winner":
        world.client.srem(keys.queue(RUNNING, POOL), VM)
    elif change == "active":
        world.client.hset(keys.active(POOL), VM, world.stamp(50))
    else:
        world.client.hset(keys.vm(VM.encode()), change, world.stamp(0))
    before = world.snapshot()
    assert double_queues.repair(world.db, VM.encode(), found[0], found, known) == []
    assert world.snapshot() == before


def test_a_second_repair_changes_nothing(world: PoolWorld) -> None:
    put(world, RUNNING, READY, checkout=world.stamp(60))
    found = [QueuePlace(RUNNING, POOL), QueuePlace(READY, POOL)]
    known = double_queues.read_facts(world.db, {VM.encode(): found}, 24)[VM.encode()]
    assert double_queues.repair(world.db, VM.encode(), found[0], found, known) == found[1:]
    before = world.snapshot()
    assert double_queues.repair(world.db, VM.encode(), found[0], found, known) == []
    assert world.snapshot() == before


def test_a_destruction_that_was_handed_out_before_does_not_start_while_it_runs(world: PoolWorld) -> None:
    put(world, COMPLETED)
    [work] = [one for one in world.inspect().work if one.step is Step.DESTROY]
    world.client.sadd(keys.queue(RUNNING, POOL), VM)
    world.client.hset(keys.vm(VM.encode()), "checkout", world.stamp(0))
    assert destroy.run(world.context, VM, POOL, "task-1") == "in_two_queues"
    assert "destroy" not in world.metadata(VM)
    assert world.deliver(work) == "in_two_queues"
    assert "destroyed" not in world.round()
    assert places(world) == [(RUNNING, POOL)]


def test_a_vm_of_an_open_request_that_loses_running_is_replaced(world: PoolWorld) -> None:
    put(world, RUNNING, COMPLETED, request_id=ID, pool_alias="centos")
    world.client.hset(HASH, "requested", f"centos:{POOL}:2")
    world.client.zadd(PROCESSING, {ID: world.now})
    world.client.sadd(DELIVERED, VM)
    world.inspect()
    assert places(world) == [(COMPLETED, POOL)]
    assert not world.client.exists(DELIVERED)
    assert members(world, ITEMS) == {f"centos:{POOL}:1:{ID}": 1}


def test_a_vm_in_every_queue_of_both_pools_stays_in_one(world: PoolWorld) -> None:
    put(world, *((queue, name) for queue in INSPECTED_QUEUES for name in (POOL, OTHER)), checkout=world.stamp(60))
    world.inspect()
    assert places(world) == [(RUNNING, POOL)]


def test_names_and_metadata_of_any_bytes_stop_nothing(world: PoolWorld) -> None:
    odd = b"\xff\x00odd"
    for queue in (READY, RUNNING):
        world.client.sadd(keys.queue(queue, POOL), odd, VM)
    world.client.set(keys.vm(VM.encode()), "no hash")
    world.inspect()
    assert world.members(READY) == set()
    assert world.members(RUNNING) == {odd, VM.encode()}


def test_a_queue_of_the_wrong_type_in_another_pool_stops_nothing(world: PoolWorld) -> None:
    world.client.set(keys.queue(READY, OTHER), "x")
    put(world, (READY, POOL), (RUNNING, OTHER), home=OTHER, checkout=world.stamp(60))
    world.inspect()
    assert world.names_in(READY) == set()
    assert world.names_in(RUNNING, OTHER) == {VM}


def test_thousands_are_repaired_in_a_few_inspections(world: PoolWorld) -> None:
    names = [f"pooler-{number}" for number in range(1200)]
    for vm in names:
        world.running_vm(vm, 60)
    world.client.sadd(keys.queue(READY, POOL), *names)
    for _ in range(5):
        world.inspect()
        world.client.delete(keys.check_lock(POOL))  # a slow inspection is followed by a rest
    assert world.names_in(READY) == set()
    assert len(world.names_in(RUNNING)) == 1200


def test_no_completed_vm_is_left_out_however_many_there_are(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "MAX_REPAIRS", 3)
    monkeypatch.setattr(step, "MAX_READ_POOLS", 3)
    names = [f"pooler-{number}" for number in range(20)]
    for vm in names:
        world.running_vm(vm, 60, OTHER)
    world.client.sadd(keys.queue(COMPLETED, POOL), *names)
    assert world.due(Step.DESTROY) == []
    assert world.names_in(COMPLETED) == set()
    assert world.names_in(RUNNING, OTHER) == set(names)


def test_in_a_pool_of_very_many_every_vm_is_checked_after_some_inspections(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MAX_READ_POOLS", 5)
    world.pools = [pool(size=20), pool(OTHER, size=5)]
    for number in range(10):
        world.ready_vm(f"pooler-{number}", 60, check=world.stamp(0))
    put(world, (READY, POOL), (RUNNING, OTHER), home=OTHER, checkout=world.stamp(60))
    for _ in range(50):
        world.inspect()
        if VM not in world.names_in(READY):
            break
    assert places(world) == [(RUNNING, OTHER)]
