"""Repeated failures suspend a provider for all workers. After the pause one worker tries it."""

from typing import Any

import pytest

from tests.support.pool_world import HOUR, MISSING, RESET, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.pools.suspension import LastError, Suspension
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import breakers

pytestmark = pytest.mark.both_servers

OTHER = "ubuntu-2004-x86_64"


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """A pool of many; three failures in a row are too many."""
    return PoolWorld(db, pools=[pool(size=20)], config={"task_limit": 100, "breaker_failures": 3})


def suspensions(world: PoolWorld) -> list[Suspension]:
    return breakers.suspended_providers(world.db, ["scripted"])


def failing(world: PoolWorld, error: Exception, count: int) -> list[str]:
    """Let `count` clones fail. Return the names of the others."""
    names = sorted(world.clones() or world.names_in(Queue.PENDING))
    world.provider.raises("create", error, always=True)
    for vm in names[:count]:
        assert deliver(world, vm) == type(error).__name__
    world.provider.raises("create")
    return names[count:]


def deliver(world: PoolWorld, vm: str) -> str:
    return world.deliver(Work(Step.CLONE, vm, POOL))


def pause(world: PoolWorld) -> float:
    [one] = suspensions(world)
    return round(one.suspended_until - world.now, 3)


def test_it_opens_after_so_many_failures_in_a_row(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    left = failing(world, RESET, 2)
    assert suspensions(world) == []
    world.provider.raises("create", RESET, always=True)
    deliver(world, left[0])
    assert (pause(world), suspensions(world)[0].failures) == (30, 3)
    assert caplog.messages[-1] == (f"[!] [{POOL}] provider 'scripted' is suspended for 30 s after repeated failures")


def test_the_last_error_is_kept_on_one_line_without_secrets(world: PoolWorld) -> None:
    [*_, last] = failing(world, RESET, 2)
    since = world.now
    world.fail(last, TransientProviderError("no route\nto host, password=hunter2 " + "x" * 500))
    error = suspensions(world)[0].last_error
    assert error is not None
    assert error.text.startswith("no route\\nto host, password=[redacted]")
    assert (len(error.text), error.text[-1], round(error.at - since)) == (200, "…", 0)


@pytest.mark.parametrize("operation", ["list", "ready"])
def test_failed_inventories_and_checks_are_kept_as_last_errors_too(world: PoolWorld, operation: str) -> None:
    world.pools = [pool(size=0)]
    world.provider.raises(operation, RESET, always=True)
    vm = world.pending_vm("pooler-a", age=HOUR)
    for _ in range(3):
        world.inspect()
        if operation == "ready":
            with pytest.raises(TransientProviderError):
                world.deliver(Work(Step.CHECK_PENDING, vm, POOL))
    assert suspensions(world)[0].last_error == LastError("the connection was reset", world.now)


def test_a_success_in_between_resets_the_count(world: PoolWorld) -> None:
    left = failing(world, RESET, 2)
    assert deliver(world, left[0]) == "ready"
    failing(world, RESET, 2)
    assert suspensions(world) == []


@pytest.mark.parametrize("error", [MISSING, PermanentProviderError("no such network"), TypeError("a mistake")])
def test_permanent_errors_are_no_fault_of_the_provider(world: PoolWorld, error: Exception) -> None:
    failing(world, error, 5)
    assert suspensions(world) == []
    assert not world.client.exists(keys.breaker("scripted"))


def test_while_it_is_open_a_clone_waits_without_being_tried(world: PoolWorld) -> None:
    left = failing(world, RESET, 3)
    calls = len(world.provider.calls)
    assert [deliver(world, vm) for vm in left[:3]] == ["suspended"] * 3
    assert len(world.provider.calls) == calls
    assert world.queues_of(left[0]) == [Queue.PENDING]
    assert world.dead_letters("clone")[3:] == []


def test_waiting_for_an_open_provider_is_no_attempt(world: PoolWorld) -> None:
    [vm, *_] = failing(world, RESET, 3)
    for _ in range(10):
        assert deliver(world, vm) == "suspended"
    world.now += 31
    assert deliver(world, vm) == "ready"
    assert vm not in world.provider.called("find"), "no attempt was made before"


def test_what_waited_is_taken_up_again_when_the_pause_is_over(world: PoolWorld) -> None:
    [vm, *_] = failing(world, RESET, 3)
    deliver(world, vm)
    world.now += 29
    assert vm not in [work.vm for work in world.reap()]
    world.now += 1.001
    assert vm in [work.vm for work in world.reap()]


def test_after_the_pause_exactly_one_tries(world: PoolWorld) -> None:
    [one, two, three, *_] = failing(world, RESET, 3)
    world.now += 30.001
    seen: list[str] = []
    world.provider.before("create", lambda _: seen.extend([deliver(world, two), deliver(world, three)]))
    assert deliver(world, one) == "ready"
    assert seen == ["suspended", "suspended"]


def test_a_success_closes_it_for_all(world: PoolWorld) -> None:
    [one, two, *_] = failing(world, RESET, 3)
    world.now += 30.001
    assert deliver(world, one) == "ready"
    assert suspensions(world) == []
    assert deliver(world, two) == "ready"
    assert set(world.client.hgetall(keys.breaker("scripted"))) == {b"error", b"error_at"}, "what happened last"


def test_a_failed_trial_doubles_the_pause_up_to_ten_times(world: PoolWorld) -> None:
    left = failing(world, RESET, 3)
    pauses = [pause(world)]
    world.provider.raises("create", RESET, always=True)
    for vm in left[:6]:
        world.now += pause(world) + 0.01
        assert deliver(world, vm) == "TransientProviderError"
        pauses.append(pause(world))
    assert pauses == [30, 60, 120, 240, 300, 300, 300]


def test_after_a_success_the_pause_is_the_shortest_again(world: PoolWorld) -> None:
    left = failing(world, RESET, 3)
    world.provider.raises("create", RESET, always=True)
    world.now += 31
    deliver(world, left[0])
    assert pause(world) == 60
    world.provider.raises("create")
    world.now += 61
    assert deliver(world, left[1]) == "ready"
    failing(world, RESET, 3)
    assert pause(world) == 30


def test_failures_that_come_late_do_not_prolong_the_pause(world: PoolWorld) -> None:
    left = failing(world, RESET, 3)
    world.now += 10
    for vm in left[:4]:
        world.fail(vm, RESET)
    assert pause(world) == 20


def test_a_trial_whose_worker_dies_is_followed_by_another(world: PoolWorld) -> None:
    [one, two, *_] = failing(world, RESET, 3)
    world.now += 31
    world.provider.raises("create", MISSING)
    with pytest.raises(PermanentProviderError):
        world.clone(one)
    world.now += 59
    assert deliver(world, two) == "suspended"
    world.now += 1
    assert deliver(world, two) == "ready"


def test_an_inventory_that_cannot_be_read_counts(world: PoolWorld) -> None:
    world.pools = [pool(size=0)]
    world.provider.raises("list", RESET, always=True)
    troubles: list[Any] = [world.inspect().error for _ in range(4)]
    assert troubles == [RESET, RESET, RESET, None], "then it gets no more queries"
    assert pause(world) == 30
    assert world.provider.called("list") == [POOL] * 3


def test_after_the_pause_the_inventory_is_read_again(world: PoolWorld) -> None:
    world.pools = [pool(size=0)]
    world.provider.raises("list", RESET, RESET, RESET)
    for _ in range(3):
        world.inspect()
    world.now += 31
    assert world.inspect().error is None
    assert world.provider.called("list") == [POOL] * 4


def test_occasional_failed_inventories_do_not_suspend_the_provider(world: PoolWorld) -> None:
    world.pools = [pool(size=0)]
    for _ in range(5):
        world.provider.raises("list", RESET)
        assert world.inspect().error is RESET
        assert world.inspect().error is None
        world.now += 600
    assert suspensions(world) == [], "never two in a row"


def test_an_inventory_that_can_be_read_again_closes_what_it_opened(world: PoolWorld) -> None:
    world.pools = [pool(size=0)]
    world.provider.raises("list", RESET, RESET, RESET)
    for _ in range(3):
        world.inspect()
    world.now += 31
    world.inspect()
    assert suspensions(world) == []


def test_an_inventory_that_can_be_read_says_nothing_of_clones(world: PoolWorld) -> None:
    left = failing(world, RESET, 2)
    world.inspect()
    world.provider.raises("create", RESET, always=True)
    deliver(world, left[0])
    assert pause(world) == 30


def test_each_provider_has_its_own(world: PoolWorld) -> None:
    world.pools.append(pool(OTHER, provider="other"))
    world.providers = {"other": world.provider}
    failing(world, RESET, 3)
    [vm, _] = world.clones(OTHER)
    assert world.deliver(Work(Step.CLONE, vm, OTHER)) == "ready"
    assert pause(world) == 30, "and one's success does not close another's"


def test_what_is_remembered_of_a_provider_is_forgotten_in_the_end(world: PoolWorld) -> None:
    failing(world, RESET, 1)
    assert 0 < world.client.ttl(keys.breaker("scripted")) <= 86400


def test_permanent_errors_suspend_the_pool_alone(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.pools = [pool(size=20), pool(OTHER, size=2)]
    failing(world, MISSING, 3)
    [broken] = breakers.suspended_pools(world.db, [POOL, OTHER])
    assert (broken.name, broken.failures, round(broken.suspended_until - world.now)) == (POOL, 3, 30)
    assert caplog.messages[-1] == f"[!] [{POOL}] pool '{POOL}' is suspended for 30 s after repeated permanent errors"
    left = len(world.names_in(Queue.PENDING))
    assert world.clones() == [], "no more are started"
    assert len(world.names_in(Queue.PENDING)) == left
    assert len(world.clones(OTHER)) == 2, "its provider is well"


def test_a_broken_pool_is_tried_with_one_clone_at_a_time_and_then_filled(world: PoolWorld) -> None:
    for vm in failing(world, MISSING, 3):
        world.client.srem(keys.queue(Queue.PENDING, POOL), vm)
    world.now += 31
    [vm] = world.clones()
    assert world.clones() == [], "one is being tried"
    world.provider.raises("create", MISSING, always=True)
    deliver(world, vm)
    assert world.clones() == []
    assert round(breakers.suspended_pools(world.db, [POOL])[0].suspended_until - world.now) == 60
    world.now += 61
    [vm] = world.clones()
    world.provider.raises("create")
    assert deliver(world, vm) == "ready"
    assert breakers.suspended_pools(world.db, [POOL]) == []
    assert len(world.clones()) == 19
