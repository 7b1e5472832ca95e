"""A paused pool gets no new clone, whoever starts it and whenever the pause comes."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.pool_world import MINUTE, PoolWorld, pool
from tests.support.processes import until
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import pauses

pytestmark = pytest.mark.both_servers

OTHER = "ubuntu-2004-x86_64"
ID = "req-1"
ITEM = f"centos:{POOL}:1:{ID}"


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=3), pool(OTHER, size=1)])


def pause(world: PoolWorld, state: PauseState = PauseState.PAUSED) -> None:
    given = Pause(state=state, since=world.now, who="olga@host", why="new disks")
    pauses.pause(world.db, POOL, given, {"action": "pause"})


def resume(world: PoolWorld) -> None:
    pauses.resume(world.db, POOL, {"action": "resume"})


def request(world: PoolWorld, count: int = 1) -> None:
    world.client.hset(f"vmpooler__odrequest__{ID}", mapping={"requested": f"centos:{POOL}:{count}"})
    world.client.zadd("vmpooler__provisioning__request", {ID: int(world.now)})


def items(world: PoolWorld) -> list[str]:
    return [raw.decode() for raw in world.client.zrange("vmpooler__odcreate__task", 0, -1)]


def all_dead_letters(world: PoolWorld) -> list[dict[str, Any]]:
    return [one for queue in ("clone", "pending", "ready", "tasks") for one in world.dead_letters(queue)]


def test_a_paused_pool_starts_no_clone_until_it_is_resumed(world: PoolWorld) -> None:
    pause(world)
    assert (world.clones(), world.slots()) == ([], 0)
    assert len(world.clones(OTHER)) == 1
    resume(world)
    assert len(world.clones()) == 3


def test_its_checks_lifetimes_and_destructions_go_on(world: PoolWorld) -> None:
    world.ready_vm("pooler-ready", age=2 * MINUTE)
    world.running_vm("pooler-old", age=25 * 60 * MINUTE)
    world.completed_vm("pooler-done")
    pause(world)
    assert {(one.step, one.vm) for one in world.inspect().work} == {
        (Step.CHECK_READY, "pooler-ready"),
        (Step.CHECK_RUNNING, "pooler-old"),
        (Step.DESTROY, "pooler-done"),
    }


def test_a_clone_that_no_worker_has_begun_is_taken_back(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    vm, *others = world.clones()
    pause(world)
    assert world.clone(vm) == "paused"
    assert caplog.messages[-1] == f"[ ] [{POOL}] '{vm}' is not cloned: its pool is paused"
    assert (world.queues_of(vm), world.metadata(vm), world.slots()) == ([], {}, len(others))
    assert not world.client.exists(keys.work(vm.encode()))
    assert (world.provider.called("create"), all_dead_letters(world)) == ([], [])
    assert world.clone(vm) == "left_queue", "delivered twice"


def test_an_inspection_takes_back_what_no_worker_has_started(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    request(world, count=2)
    made_for_requests = [work.vm for work in fulfil.run(world.context)]
    started, *others = world.clones()
    made = world.pending_vm("pooler-made", clone_time="1.00")

    def inspect(_: str) -> None:
        pause(world)
        world.inspect()

    world.provider.before("create", inspect)
    assert world.clone(started) == "ready", "its clone had started"
    text = f"[*] [{POOL}] paused: {len(others) + 2} clones that no worker had started are taken back"
    assert text in caplog.messages
    assert world.names_in(Queue.PENDING) == {made}
    assert (world.slots(), world.request_slots()) == (0, 0)
    assert items(world) == [f"centos:{POOL}:2:{ID}"]
    assert [world.clone(vm) for vm in (*others, *made_for_requests)] == ["left_queue"] * (len(others) + 2)


def test_a_clone_that_has_begun_runs_to_its_end(world: PoolWorld) -> None:
    vm, *_ = world.clones()
    world.provider.before("create", lambda _: pause(world))
    assert world.clone(vm) == "ready"
    assert world.queues_of(vm) == [Queue.READY]


def test_a_clone_whose_worker_died_is_destroyed(world: PoolWorld) -> None:
    vm, *_ = world.clones()
    world.provider.raises("create", TransientProviderError("killed"), always=True)
    with pytest.raises(TransientProviderError):
        world.clone(vm)  # nobody reports the failure
    pause(world)
    world.now += 600
    assert vm in [work.vm for work in world.reap()]
    assert world.clone(vm, owner="task-2") == "paused"
    assert (world.queues_of(vm), all_dead_letters(world)) == ([Queue.COMPLETED], [])
    assert world.due(Step.DESTROY) == [vm]


def test_the_item_of_a_request_waits_for_its_pool(world: PoolWorld) -> None:
    pause(world)
    request(world)
    assert (fulfil.run(world.context), items(world)) == ([], [ITEM])
    resume(world)
    [work] = fulfil.run(world.context)
    assert world.deliver(work) == "delivered"


def test_a_clone_for_a_request_is_taken_back_and_its_item_waits_again(world: PoolWorld) -> None:
    request(world, count=2)
    first, second = fulfil.run(world.context)
    pause(world)
    assert (world.deliver(first), world.deliver(second)) == ("paused", "paused")
    assert (world.request_slots(), world.names_in(Queue.PENDING)) == (0, set())
    assert items(world) == [f"centos:{POOL}:2:{ID}"]
    assert world.client.hget(f"vmpooler__odrequest__{ID}", "retry_count") is None
    assert fulfil.run(world.context) == []
    assert items(world) == [f"centos:{POOL}:2:{ID}"], "none is counted as lost"
    resume(world)
    assert len(fulfil.run(world.context)) == 2


def test_a_closed_request_gets_no_item_back(world: PoolWorld) -> None:
    request(world)
    [work] = fulfil.run(world.context)
    world.client.hset(f"vmpooler__odrequest__{ID}", "status", "deleted")
    pause(world)
    assert (world.deliver(work), items(world)) == ("paused", [])


def test_a_request_fails_by_its_time_limit_with_the_pause_as_reason(world: PoolWorld) -> None:
    pause(world)
    request(world)
    fulfil.run(world.context)
    paused_text = pauses.read_paused(world.db)[POOL].text(POOL)
    world.now += 5 * MINUTE + 1
    fulfil.run(world.context)
    assert world.client.hget(f"vmpooler__odrequest__{ID}", "status") == b"failed"
    reason = world.client.hget(f"vmpooler__odrequest__{ID}", "failure_reason").decode()
    assert reason == f"not filled within 5 minutes: {paused_text}"
    assert "is paused by olga@host since 2" in reason
    assert reason.endswith(": new disks")


def test_a_draining_pool_loses_pending_and_ready_vms_at_each_inspection(world: PoolWorld) -> None:
    ready, running = world.ready_vm("pooler-ready"), world.running_vm("pooler-running")
    pending = world.pending_vm("pooler-pending")
    assert len(world.clones()) == 1
    pause(world, PauseState.DRAINING)
    world.inspect()
    assert world.names_in(Queue.PENDING) | world.names_in(Queue.READY) == set()
    assert world.names_in(Queue.COMPLETED) == {ready, pending}, "the clone that had not started is taken back"
    assert world.slots() == 0
    assert world.names_in(Queue.RUNNING) == {running}
    late = world.ready_vm("pooler-late")
    world.inspect()
    assert late in world.names_in(Queue.COMPLETED)
    assert all_dead_letters(world) == []


def test_a_clone_that_ends_in_a_draining_pool_goes_to_completed(world: PoolWorld) -> None:
    vm, *_ = world.clones()

    def drain(_: str) -> None:
        pause(world, PauseState.DRAINING)
        world.inspect()

    world.provider.before("create", drain)
    assert world.clone(vm) == "left_queue"
    assert world.queues_of(vm) == [Queue.COMPLETED]


def test_a_resumed_pool_fills_itself_again(world: PoolWorld) -> None:
    world.ready_vm("pooler-a")
    pause(world, PauseState.DRAINING)
    world.inspect()
    resume(world)
    assert len(world.clones()) == 3


@pytest.mark.parametrize("change", ["template", "clone target"])
def test_a_changed_template_or_clone_target_lets_one_clone_try_a_suspended_pool(world: PoolWorld, change: str) -> None:
    world.config = {"breaker_failures": 2}
    world.provider.raises("create", PermanentProviderError("template not found"), always=True)
    for vm in world.clones():
        world.deliver(Work(Step.CLONE, vm, POOL))
    assert world.clones() == [], "suspended"
    key = keys.POOL_TEMPLATES if change == "template" else keys.POOL_CLONE_TARGETS
    world.client.hset(key, POOL, "fixed/one")
    world.provider.raises("create")
    [trial] = world.clones()
    assert world.clones() == [], "one at a time"
    assert world.deliver(Work(Step.CLONE, trial, POOL)) == "ready"
    assert len(world.clones()) == 2


@pytest.mark.slow(seconds=5)
@pytest.mark.parametrize("attempt", range(5))
def test_many_workers_at_the_moment_of_a_pause_start_nothing_after_it(
    world: PoolWorld, caplog: pytest.LogCaptureFixture, attempt: int
) -> None:
    world.pools, world.config = [pool(size=500)], {"task_limit": 60, "ondemand_clone_limit": 60}
    request(world, count=9)
    stop, enough = threading.Event(), threading.Barrier(7)

    def work_once() -> None:
        for one in [*world.inspect().work, *fulfil.run(world.context)]:
            if one.step is Step.CLONE:
                world.deliver(one)

    def work() -> None:
        enough.wait(10)
        while not stop.is_set():
            work_once()
        work_once()  # each worker works at least once after the pause, however late it got the processor

    with ThreadPoolExecutor(6) as workers:
        done = [workers.submit(work) for _ in range(6)]
        enough.wait(10)
        until(lambda: world.client.zcard(keys.POOL_SLOTS.key) >= 10 * attempt, "clones are in flight", pause=0.001)
        pause(world)
        pending = world.names_in(Queue.PENDING)
        started = {vm for vm in pending if world.client.hexists(keys.work(vm.encode()), "owner")}
        calls = set(world.provider.called("create"))
        until(lambda: not world.names_in(Queue.PENDING) & pending - started, "what nobody had started is taken back")
        stop.set()
        for one in done:
            one.result(20)
    assert set(world.provider.called("create")) - calls <= started
    assert world.names_in(Queue.PENDING) == set()
    assert (world.slots(), world.request_slots(), all_dead_letters(world)) == (0, 0, [])
    left = sum(int(item.split(":")[2]) for item in items(world))
    assert left + int(world.client.scard(f"vmpooler__{ID}__centos__{POOL}")) == 9, "the request loses no VM"
    assert "before their delivery" not in caplog.text, "no VM was lost and then replaced"
