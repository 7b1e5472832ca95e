"""A completed VM is destroyed by one worker, and tried again until it is."""

import logging

import pytest

from tests.support.pool_world import WEEK, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.jobs.pools import destroy
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.both_servers

VM = "pooler-a"
DENIED = PermanentProviderError("permission denied")


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=0)])


def run(world: PoolWorld, vm: str = VM, owner: str = "task-1") -> str:
    return destroy.run(world.context, vm, POOL, owner)


def test_a_completed_vm_is_destroyed_and_forgotten_after_data_ttl(world: PoolWorld) -> None:
    world.completed_vm(VM)
    world.client.hset(keys.active(POOL), mapping={VM: world.stamp(60), "pooler-b": world.stamp(60)})
    assert world.due(Step.DESTROY) == [VM]
    assert run(world) == "destroyed"
    assert world.provider.machines == {}
    assert world.queues_of(VM) == []
    assert world.metadata(VM)["destroy"] == "2024-01-15 10:30:00 +0000"
    assert WEEK - 60 < world.ttl(VM) <= WEEK
    assert world.client.hkeys(keys.active(POOL)) == [b"pooler-b"]
    assert world.count("vms_destroyed") == 1
    assert not world.client.exists(keys.work(VM.encode()), keys.DESTROYS)


def test_metadata_is_kept_for_as_long_as_configured(world: PoolWorld) -> None:
    world.data_ttl = 1
    world.completed_vm(VM)
    run(world)
    assert 3600 - 60 < world.ttl(VM) <= 3600


def test_a_vm_that_the_provider_does_not_know_is_just_removed(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    world.vm(Queue.COMPLETED, VM, 0)
    assert run(world) == "destroyed"
    assert world.queues_of(VM) == []
    assert caplog.messages == [f"[-] [{POOL}] '{VM}' does not exist in the provider: removed from completed"]


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY, Queue.RUNNING, Queue.DISCOVERED])
def test_a_vm_that_is_not_completed_is_not_destroyed(world: PoolWorld, queue: Queue) -> None:
    world.vm(queue, VM, 0)
    world.provider.has(VM)
    before = world.snapshot()
    assert run(world) == "left_queue"
    assert world.snapshot() == before
    assert world.provider.calls == []


def test_a_second_delivery_finds_it_gone(world: PoolWorld) -> None:
    world.completed_vm(VM)
    run(world)
    before = world.snapshot()
    assert [run(world), run(world, owner="task-2")] == ["left_queue", "left_queue"]
    assert world.snapshot() == before
    assert world.provider.called("destroy") == [VM]


def test_two_at_once_destroy_it_once(world: PoolWorld) -> None:
    world.completed_vm(VM)
    seen: list[str] = []
    world.provider.before("destroy", lambda _: seen.append(run(world, owner="task-2")))
    assert run(world, owner="task-1") == "destroyed"
    assert seen == ["busy"]
    assert world.provider.called("destroy") == [VM]
    assert world.count("vms_destroyed") == 1


def test_an_error_that_may_pass_is_tried_again_at_once(world: PoolWorld) -> None:
    world.completed_vm(VM)
    world.provider.raises("destroy", TransientProviderError("no"), OSError("no"))
    assert run(world) == "destroyed"
    assert len(world.slept) == 2


def fail(world: PoolWorld, owner: str = "task-1") -> None:
    world.provider.raises("destroy", DENIED)
    with pytest.raises(PermanentProviderError):
        run(world, owner=owner)


def test_a_vm_that_cannot_be_destroyed_stays_completed(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.completed_vm(VM)
    fail(world)
    assert world.queues_of(VM) == [Queue.COMPLETED]
    assert VM in world.provider.machines
    assert caplog.messages == [f"[!] [{POOL}] '{VM}' failed while destroying the VM with an error: permission denied"]


def test_it_is_tried_again_after_a_pause_that_grows(world: PoolWorld) -> None:
    world.completed_vm(VM)
    pauses = []
    for _ in range(9):
        assert world.due(Step.DESTROY) == [VM]
        fail(world)
        started = world.now
        assert world.due(Step.DESTROY) == []
        world.now = world.client.zscore(keys.DESTROYS, VM) - 1
        assert world.due(Step.DESTROY) == []
        world.now += 1
        pauses.append(world.now - started)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert run(world) == "destroyed"


def test_since_when_it_is_tried_is_kept_from_the_first_time(world: PoolWorld) -> None:
    world.completed_vm(VM)
    fail(world)
    world.now += 60
    fail(world)
    assert world.metadata(VM)["destroy"] == "2024-01-15 10:30:00 +0000"


def test_it_is_handed_out_once_for_as_long_as_a_queue_may_be(world: PoolWorld) -> None:
    world.completed_vm(VM)
    assert world.due(Step.DESTROY) == [VM]
    world.now += 5 * 60 - 1
    assert world.due(Step.DESTROY) == []
    world.now += 1
    assert world.due(Step.DESTROY) == [VM], "no worker has taken it on"


def killed(world: PoolWorld, owner: str = "task-1") -> None:
    """The worker dies in the middle of it: nobody hears of it again."""
    world.provider.raises("destroy", SystemExit(), always=True)  # type: ignore[arg-type]
    with pytest.raises(SystemExit):
        run(world, owner=owner)
    world.provider.raises("destroy")


def test_a_destruction_whose_worker_died_is_taken_over_when_its_lease_ends(world: PoolWorld) -> None:
    world.completed_vm(VM)
    world.due(Step.DESTROY)
    killed(world)
    started = world.now
    assert run(world, owner="task-2") == "busy"
    world.now += 60
    assert world.due(Step.DESTROY) == [VM]
    assert run(world, owner="task-3") == "destroyed", "although it is handed out, and so leased, again"
    assert world.now - started < 300


def test_the_same_task_delivered_again_does_not_wait_for_the_lease(world: PoolWorld) -> None:
    world.completed_vm(VM)
    killed(world)
    assert run(world) == "destroyed"


def test_a_lease_that_is_renewed_is_not_taken_over(world: PoolWorld) -> None:
    world.completed_vm(VM)
    seen: list[str] = []

    def slowly(name: str) -> None:
        for _ in range(5):
            world.now += 59
            assert world.leases
            world.leases.renew_all()
            seen.extend([*world.due(Step.DESTROY), run(world, owner="task-2")])

    world.provider.before("destroy", slowly)
    assert run(world) == "destroyed"
    assert seen == ["busy"] * 5


def test_whoever_lost_his_lease_does_not_take_the_vm_out_of_completed(world: PoolWorld) -> None:
    world.completed_vm(VM)

    def frozen(_: str) -> None:
        world.provider.before("destroy", None)
        world.now += 61
        world.due(Step.DESTROY)
        fail(world, owner="task-2")

    world.provider.before("destroy", frozen)
    assert run(world, owner="task-1") == "lost"
    assert world.queues_of(VM) == [Queue.COMPLETED]
    world.now += 120
    assert world.due(Step.DESTROY) == [VM]
    assert run(world, owner="task-3") == "destroyed"


def test_a_vm_that_is_still_being_cloned_is_destroyed_when_it_is_made(world: PoolWorld) -> None:
    world.pools = [pool(size=1)]
    [vm] = world.clones()
    seen: list[str] = []

    def complete(_: str) -> None:
        world.pools = [pool(size=0)]
        world.client.smove(keys.queue(Queue.PENDING, POOL), keys.queue(Queue.COMPLETED, POOL), vm)
        world.inspect()
        seen.append(run(world, vm, owner="task-2"))

    world.provider.before("create", complete)
    assert world.clone(vm) == "left_queue"
    assert seen == ["busy"]
    world.now += 300
    assert world.due(Step.DESTROY) == [vm]
    assert run(world, vm, owner="task-3") == "destroyed"
    assert world.provider.machines == {}
    assert world.slots() == 0


def test_what_left_completed_by_itself_is_forgotten(world: PoolWorld) -> None:
    world.completed_vm(VM)
    world.inspect()
    world.client.srem(keys.queue(Queue.COMPLETED, POOL), VM)
    world.completed_vm("pooler-b")
    world.now += 2 * 86400
    world.inspect()
    assert world.client.zrange(keys.DESTROYS, 0, -1) == [b"pooler-b"]


def test_the_log_says_how_long_a_destruction_took(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    world.completed_vm(VM)
    run(world)
    [line] = caplog.messages
    assert line.startswith(f"[-] [{POOL}] '{VM}' destroyed in 0.")
