"""Orders of VMPooler's API for running VMs: carried out once, with the result in the metadata as VMPooler writes it."""

import pytest

from tests.support.order_world import OrderWorld, running
from tests.support.pool_world import RESET, Scripted, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.vm_orders import ORDERS
from vmpooler_tasks.store import keys

DISK, SNAPSHOT, REVERT = Step.CREATE_DISK, Step.CREATE_SNAPSHOT, Step.REVERT_SNAPSHOT

VALUES = {DISK: "8", SNAPSHOT: "before", REVERT: "before"}


def with_snapshot(world: OrderWorld, vm: str = "vm-1", name: str = "before") -> None:
    world.provider.snapshots.add((vm, name))


def test_a_disk_is_added_and_noted_as_vmpooler_notes_it(world: OrderWorld) -> None:
    world.order(DISK, "vm-1:8")
    assert world.serve() == ["done"]
    assert world.provider.sizes("vm-1") == [8]
    assert world.metadata("vm-1")["disk"] == "+8gb"
    world.order(DISK, "vm-1:10")
    world.serve()
    world.order(DISK, "vm-1:8")
    world.serve()
    assert world.metadata("vm-1")["disk"] == "+8gb:+10gb:+8gb", "each order is a disk of its own"
    assert world.provider.sizes("vm-1") == [8, 8, 10]
    assert world.leftovers() == []
    assert world.count("vm_orders_done:create_disk") == 3


@pytest.mark.parametrize(
    ("written", "size"), [("08", 8), ("8gb", 8), ("1_0", 10), (" 8", 8), ("8.5", 8), ("65536", 65536)]
)
def test_a_size_is_read_as_vmpooler_reads_it(world: OrderWorld, written: str, size: int) -> None:
    world.order(DISK, f"vm-1:{written}")
    world.serve()
    assert world.provider.sizes("vm-1") == [size]
    assert world.metadata("vm-1")["disk"] == f"+{written}gb"


def test_a_snapshot_is_made_and_its_time_noted(world: OrderWorld) -> None:
    world.order(SNAPSHOT, "vm-1:before")
    assert world.serve() == ["done"]
    assert world.provider.snapshots == {("vm-1", "before")}
    assert world.metadata("vm-1")["snapshot:before"] == world.stamp(0)
    assert world.leftovers() == []


def test_a_revert_is_started_once_and_leaves_no_note(world: OrderWorld) -> None:
    with_snapshot(world)
    before = world.metadata("vm-1")
    world.order(REVERT, "vm-1:before")
    assert world.serve() == ["done"]
    assert world.provider.reverts == [("vm-1", "before")]
    assert world.metadata("vm-1") == before
    assert world.serve() == []
    assert world.leftovers() == []
    world.order(REVERT, "vm-1:before")
    world.serve()
    assert len(world.provider.reverts) == 2, "a second order of the user is a second revert"


@pytest.mark.parametrize("step", ORDERS)
def test_a_doubled_message_does_nothing_more(world: OrderWorld, step: Step) -> None:
    if step is REVERT:
        with_snapshot(world)
    world.order(step, f"vm-1:{VALUES[step]}")
    [work] = world.tick()
    assert world.carry_out(work, "task-1/0") == "done"
    assert world.carry_out(work, "task-1/0") == "gone"
    assert world.carry_out(work, "task-2/0") == "gone"
    assert len(world.provider.disks) + len(world.provider.snapshots) + len(world.provider.reverts) == 1 + (
        step is REVERT
    )
    assert world.failed() == []


@pytest.mark.parametrize("step", ORDERS)
def test_two_workers_at_the_same_moment_carry_it_out_once(world: OrderWorld, step: Step) -> None:
    if step is REVERT:
        with_snapshot(world)
    world.order(step, f"vm-1:{VALUES[step]}")
    [work] = world.tick()
    outcomes: list[str] = []

    def meanwhile(_: str) -> None:
        world.provider.before(during, None)
        outcomes.append(world.carry_out(work, "task-1/0"))  # the very message, delivered again
        outcomes.append(world.carry_out(work, "task-2/0"))

    during = "has_disk" if step is DISK else "has_snapshot"
    world.provider.before(during, meanwhile)
    assert world.carry_out(work, "task-1/0") == "done"
    assert outcomes == ["busy", "busy"]


def test_an_order_stays_in_its_set_until_a_worker_claims_it(world: OrderWorld) -> None:
    world.order(DISK, "vm-1:8")
    [work] = world.tick()
    assert world.waiting(DISK) == {"vm-1:8"}, "the message may be lost"
    assert world.tick() == [], "its message is on its way"
    world.now += 10 * world.settings.config.lease_seconds
    assert world.tick() == [work], "the message was lost"
    seen: list[set[str]] = []
    world.provider.before("has_disk", lambda _: seen.append(world.waiting(DISK)))
    world.carry_out(work)
    assert seen == [set()], "it leaves the set in the step that claims it"


def test_orders_of_one_vm_follow_each_other(world: OrderWorld) -> None:
    for member in ("vm-1:8", "vm-1:9"):
        world.order(DISK, member)
    first, second = world.tick()
    world.provider.before("create_disk", lambda _: outcomes.append(world.carry_out(second, "task-2/0")))
    outcomes: list[str] = []
    assert world.carry_out(first) == "done"
    assert outcomes == ["busy"]
    assert world.tick() == [second], "it is sent again at once"
    assert world.carry_out(second, "task-2/0") == "done"
    assert world.leftovers() == []


def test_what_fails_for_a_moment_is_tried_again_and_made_once(world: OrderWorld) -> None:
    world.provider.raises("create_disk_ended", RESET)
    world.order(DISK, "vm-1:8")
    assert world.serve() == ["done"]
    assert world.provider.sizes("vm-1") == [8], "the provider is asked first whether it is there"


def test_a_revert_that_fails_is_not_tried_again(world: OrderWorld) -> None:
    with_snapshot(world)
    world.provider.raises("revert", RESET)
    world.order(REVERT, "vm-1:before")
    assert world.serve() == ["TransientProviderError"]
    assert len(world.provider.reverts) == 1
    [failed] = world.failed()
    assert failed["task"] == "vmpooler_tasks.revert_snapshot"
    assert failed["kwargs"] == {"vm": "vm-1", "pool": POOL, "snapshot": "before"}
    assert failed["checkout"] == world.stamp(60)
    assert failed["error_message"] == "the connection was reset"
    assert world.tick() == []
    assert world.leftovers() == []


def test_a_revert_to_a_snapshot_that_does_not_exist_starts_nothing(world: OrderWorld) -> None:
    world.order(REVERT, "vm-1:before")
    assert world.serve() == ["OrderError"]
    assert world.provider.reverts == []
    assert world.failed()[0]["error_message"] == "the VM has no such snapshot"


@pytest.mark.parametrize("step", ORDERS)
def test_a_provider_without_the_method_makes_a_dead_letter(world: OrderWorld, step: Step) -> None:
    world.providers["bare"] = Scripted()
    world.pools = [pool(provider="bare")]
    world.order(step, f"vm-1:{VALUES[step]}")
    assert world.serve() == ["OrderError"]
    assert world.waiting(step) == set()
    [failed] = world.failed()
    assert failed["error_message"].startswith("provider 'bare' has no ")
    assert (failed["vm"], failed["pool"]) == ("vm-1", POOL)
    assert world.leftovers() == []


def test_a_permanent_error_makes_a_dead_letter_at_once(world: OrderWorld) -> None:
    world.provider.raises("has_disk", PermanentProviderError("quota exceeded"))
    world.order(DISK, "vm-1:8")
    assert world.serve() == ["PermanentProviderError"]
    assert world.slept == []
    assert "disk" not in world.metadata("vm-1")


def test_orders_wait_while_the_provider_is_suspended(world: OrderWorld) -> None:
    world.order(DISK, "vm-1:8")
    [work] = world.tick()
    world.client.hset(keys.breaker("scripted"), mapping={"open_until": world.now + 100, "failures": 9})
    assert world.carry_out(work) == "suspended"
    assert world.tick() == []
    assert world.waiting(DISK) == {"vm-1:8"}
    world.now += 101
    assert world.serve() == ["done"]


@pytest.mark.parametrize("step", ORDERS)
def test_orders_wait_once_queries_before_them_failed_too_often(world: OrderWorld, step: Step) -> None:
    during = "has_disk" if step is DISK else "has_snapshot"
    world.config["breaker_failures"] = 3
    for number in range(2, 9):
        with_snapshot(world, running(world, f"vm-{number}"))
        world.order(step, f"vm-{number}:{VALUES[step]}")
    world.provider.raises(during, RESET, always=True)
    outcomes = world.serve()
    assert {"TransientProviderError", "suspended"} == set(outcomes), "a provider that is down costs a few orders"
    assert len(world.failed()) == outcomes.count("TransientProviderError") <= 3
    assert world.tick() == []
    world.provider.raises(during)
    world.now += 1000
    assert set(world.serve()) == {"done"}
    assert world.client.hget(keys.pool_breaker(POOL), "checks") is None


def test_an_order_that_its_provider_refuses_suspends_nothing(world: OrderWorld) -> None:
    def refuse(vm: str) -> None:
        raise RESET

    world.config["breaker_failures"] = 1
    world.provider.before("create_disk", refuse)
    world.order(DISK, "vm-1:8")
    assert world.serve() == ["TransientProviderError"]
    assert not world.client.exists(keys.pool_breaker(POOL), keys.breaker("scripted")), (
        "it may be this user's disk alone"
    )


def test_an_order_waits_for_a_worker_that_has_the_pool(world: OrderWorld) -> None:
    running(world, "vm-2", "debian-12-x86_64")
    world.order(DISK, "vm-2:8")
    world.client.sadd(keys.POOLS, "debian-12-x86_64")
    assert world.tick() == []
    assert world.waiting(DISK) == {"vm-2:8"}
    world.pools.append(pool("debian-12-x86_64"))
    assert world.serve() == ["done"]


def test_a_vm_is_found_in_the_pool_whose_queue_has_it(world: OrderWorld) -> None:
    world.client.hset(keys.vm(b"vm-1"), mapping={"pool": "renamed", "template": "renamed"})
    world.order(DISK, "vm-1:8")
    assert world.serve() == ["done"]


def test_the_result_makes_no_metadata_that_would_never_expire(world: OrderWorld) -> None:
    world.order(DISK, "vm-1:8")
    world.provider.before("create_disk", lambda _: world.client.delete(keys.vm(b"vm-1")))
    assert world.serve() == ["done"]
    assert not world.client.exists(keys.vm(b"vm-1"))
