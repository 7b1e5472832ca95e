"""A clone belongs to one task at a time; one that lost its worker is taken over or handed out again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.pool_world import RESET, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.jobs.pools import clone, provider_calls
from vmpooler_tasks.jobs.pools.clone import WorkerDiedError
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store import keys

pytestmark = pytest.mark.both_servers


def test_another_task_is_busy_during_a_clone(world: PoolWorld, vm: str) -> None:
    seen: list[str] = []
    world.provider.before("create", lambda _: seen.append(world.clone(vm, owner="task-2")))
    assert world.clone(vm, owner="task-1") == "ready"
    assert seen == ["busy"]
    assert world.provider.called("create") == [vm]


def test_the_same_task_delivered_twice_at_once_makes_one_vm(world: PoolWorld, vm: str) -> None:
    seen: list[str] = []

    def again(_: str) -> None:
        world.provider.before("create", None)
        seen.append(world.clone(vm, owner="task-1/0"))

    world.provider.before("create", again)
    assert world.clone(vm, owner="task-1/0") == "ready"
    assert seen == ["busy"]
    assert world.provider.called("create") == [vm]
    assert list(world.provider.machines) == [vm]
    assert world.queues_of(vm) == [Queue.READY]
    assert world.slots() == 0


def killed(world: PoolWorld, vm: str, owner: str = "task-1", *, made: bool = False) -> None:
    """The worker dies in the middle of it, after the provider has made the VM or before: nobody hears of it again."""
    world.provider.before("create", lambda _: world.provider.has(vm) if made else None)
    world.provider.raises("create", PermanentProviderError("killed"))
    with pytest.raises(PermanentProviderError):
        world.clone(vm, owner)
    world.provider.before("create", None)


@pytest.mark.parametrize("made", [False, True])
def test_a_clone_whose_worker_died_is_taken_over_when_its_lease_ends(world: PoolWorld, vm: str, made: bool) -> None:
    killed(world, vm, made=made)
    world.now += 59
    assert world.clone(vm, owner="task-2") == "busy"
    world.now += 1
    assert world.clone(vm, owner="task-2") == "ready"
    assert world.provider.called("create").count(vm) == (1 if made else 2), "it is made once"
    assert world.provider.called("find") == [vm]
    assert list(world.provider.machines) == [vm]


def test_a_vm_that_a_dead_worker_left_without_an_address_is_completed(world: PoolWorld, vm: str) -> None:
    """Its provider had defined it, and not started it: what exists is not yet a VM that can be handed out."""
    killed(world, vm, made=True)
    made = world.provider.machines[vm]
    world.provider.machines[vm] = replace(made, ip=None)

    def complete(_: str) -> None:
        world.provider.machines[vm] = made

    world.provider.before("create", complete)
    world.now += 60
    assert world.clone(vm, owner="task-2") == "ready"
    assert list(world.provider.machines) == [vm]


def test_a_clone_whose_slot_was_lost_has_it_again_after_an_inspection(world: PoolWorld, vm: str) -> None:
    killed(world, vm)
    world.client.delete(keys.POOL_SLOTS.key)
    world.inspect()
    assert world.client.zscore(keys.POOL_SLOTS.key, vm) == world.now + 60
    assert world.queues_of(vm) == [Queue.PENDING]
    world.now += 60
    assert world.clone(vm, owner="task-2") == "ready"
    assert list(world.provider.machines) == [vm]


def test_a_pending_vm_of_another_program_gets_no_slot(world: PoolWorld) -> None:
    world.client.sadd(keys.queue(Queue.PENDING, POOL), "theirs")
    world.client.hset(keys.vm(b"theirs"), mapping={"clone": world.stamp(60), "pool": POOL})
    world.inspect()
    assert world.client.zscore(keys.POOL_SLOTS.key, "theirs") is None


def test_the_next_try_of_a_task_does_not_wait_for_the_lease(world: PoolWorld, vm: str) -> None:
    killed(world, vm, "task-1/0", made=True)
    assert world.clone(vm, owner="task-1/0") == "busy", "the same message, twice"
    assert world.clone(vm, owner="task-1/1") == "ready"
    assert world.provider.called("create") == [vm]


def test_a_first_delivery_does_not_ask_whether_it_is_there(world: PoolWorld, vm: str) -> None:
    world.clone(vm)
    assert world.provider.called("find") == []


def test_a_lease_that_is_renewed_is_not_taken_over(world: PoolWorld, vm: str) -> None:
    seen: list[str] = []

    def slowly(name: str) -> None:
        for _ in range(5):
            world.now += 59
            assert world.leases
            world.leases.renew_all()
            seen.append(world.clone(vm, owner="task-2"))
            seen.extend(work.vm for work in world.reap())

    world.provider.before("create", slowly)
    assert world.clone(vm) == "ready"
    assert seen == ["busy"] * 5


def test_whoever_lost_his_lease_changes_nothing_any_more(world: PoolWorld, vm: str) -> None:
    seen: dict[str, object] = {}

    def frozen(_: str) -> None:
        world.provider.before("create", None)
        world.now += 61
        seen["outcome"] = world.clone(vm, owner="task-2")
        seen["state"] = world.snapshot()

    world.provider.before("create", frozen)
    assert world.clone(vm, owner="task-1") == "lost"
    assert seen == {"outcome": "ready", "state": world.snapshot()}


def test_whoever_lost_his_lease_and_fails_does_not_fail_it_for_the_other(world: PoolWorld, vm: str) -> None:
    world.provider.default_readiness = Readiness(False, "booting")
    states = []

    def frozen(_: str) -> None:
        world.provider.before("create", second)
        world.now += 61
        world.clone(vm, owner="task-2")

    def second(_: str) -> None:
        before = world.snapshot()
        assert not world.fail(vm, RESET, owner="task-1"), "while the other makes it"
        states.append(world.snapshot() == before)

    world.provider.before("create", frozen)
    assert world.clone(vm, owner="task-1") == "lost"
    before = world.snapshot()
    assert not world.fail(vm, RESET, owner="task-1"), "and after the other has made it"
    assert world.snapshot() == before
    assert states == [True]
    assert world.queues_of(vm) == [Queue.PENDING]


def test_a_clone_that_kills_each_worker_becomes_a_dead_letter(world: PoolWorld, vm: str) -> None:
    for number in range(3):
        killed(world, vm, owner=f"task-{number}")
        world.now += 61
    with pytest.raises(WorkerDiedError, match="The worker died in every attempt: 3 deliveries") as caught:
        world.clone(vm, owner="task-3")
    assert world.fail(vm, caught.value, owner="task-3")
    assert world.queues_of(vm) == []
    assert [entry["error_class"] for entry in world.dead_letters("clone")] == ["WorkerDiedError"]
    assert world.slots() == 0


def test_deliveries_that_end_do_not_count_as_deaths(world: PoolWorld, vm: str) -> None:
    killed(world, vm, "task-1/0")
    killed(world, vm, "task-1/1")
    assert world.clone(vm, "task-1/2") == "ready"


def test_clones_that_no_worker_holds_are_handed_out_again(
    world: PoolWorld, vm: str, caplog: pytest.LogCaptureFixture
) -> None:
    killed(world, vm)
    assert world.reap() == []
    world.now += 60
    [work] = world.reap()
    assert (work.step, work.vm, work.pool, work.request_id) == (Step.CLONE, vm, POOL, None)
    assert f"[!] [{POOL}] '{vm}' is handed out again: the lease of its clone has expired" in caplog.messages
    assert world.reap() == [], "it is not handed out again at once"
    assert world.slots() == 1
    assert world.deliver(work) == "ready"


def test_a_clone_that_never_reached_a_worker_is_handed_out_again(world: PoolWorld, vm: str) -> None:
    world.now += 5 * 60 - 1
    assert world.reap() == []
    world.now += 1
    assert [work.vm for work in world.reap()] == [vm]
    world.now += 5 * 60
    assert [work.vm for work in world.reap()] == [vm], "and again"


def test_whoever_was_replaced_by_a_reap_has_lost(world: PoolWorld, vm: str) -> None:
    def frozen(_: str) -> None:
        world.provider.before("create", None)
        world.now += 61
        assert len(world.reap()) == 1

    world.provider.before("create", frozen)
    assert world.clone(vm, owner="task-1") == "lost"
    assert world.clone(vm, owner="task-2") == "ready"
    assert list(world.provider.machines) == [vm]


def test_a_clone_that_left_pending_gives_its_slot_back_when_its_lease_ends(world: PoolWorld, vm: str) -> None:
    world.client.srem(keys.queue(Queue.PENDING, POOL), vm)
    world.now += 5 * 60
    assert world.reap() == []
    assert world.slots() == 0
    assert not world.client.exists(keys.work(vm.encode()))


def test_a_clone_without_any_metadata_gives_its_slot_back(world: PoolWorld, vm: str) -> None:
    world.client.delete(keys.vm(vm.encode()))
    world.now += 5 * 60
    assert world.reap() == []
    assert world.slots() == 0


def test_a_queue_of_the_wrong_type_does_not_stop_reaping(world: PoolWorld, vm: str) -> None:
    world.pools.append(pool("other", size=1))
    [other] = world.clones("other")
    world.client.set(keys.queue(Queue.PENDING, POOL), "x")
    world.now += 5 * 60
    assert [work.vm for work in world.reap()] == [other]
    world.client.delete(keys.queue(Queue.PENDING, POOL))
    world.client.sadd(keys.queue(Queue.PENDING, POOL), vm)
    world.now += 5 * 60
    assert vm in [work.vm for work in world.reap()], "it is reaped as soon as it can be"


def test_a_late_clone_has_the_whole_timeout_of_its_pool(
    world: PoolWorld, vm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def noted(seconds: float, call: Callable[..., Any], *args: Any) -> Any:
        given.append(seconds)
        return provider_calls.call_within(seconds, call, *args)

    monkeypatch.setattr(clone, "call_within", noted)
    world.now += 14 * 60
    killed(world, vm)
    world.now += 2 * 60
    world.clone(vm, "task-2")
    assert given == [15 * 60] * 2


def see_fences(world: PoolWorld) -> list[int]:
    """Return the fences of the clones from now on: the list grows."""
    seen: list[int] = []
    world.provider.before("create", lambda vm: seen.append(int(world.client.hget(keys.work(vm.encode()), "fence"))))
    return seen


def test_a_fence_is_given_once_also_after_redis_lost_the_last_writes(world: PoolWorld) -> None:
    """The counter is that of before the writes that were lost: what it counted then, a worker may still hold."""
    before = int(world.db.clock() * 1_000_000) - 60_000_000
    seen, started = see_fences(world), world.clones()
    for vm in started:
        world.client.set(keys.FENCES, before)
        assert world.clone(vm) == "ready"
    assert len(set(seen)) == len(started) > 1


def test_fences_rise_while_the_clock_of_redis_is_behind(world: PoolWorld, vm: str) -> None:
    last = 9 * 10**15  # of a server whose clock was far ahead
    world.client.set(keys.FENCES, last)
    seen = see_fences(world)
    assert world.clone(vm) == "ready"
    assert seen == [last + 1]
