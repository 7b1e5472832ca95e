"""A brake that is engaged: what goes on, what the checks of single VMs may do, and what releases it."""

import logging
from collections.abc import Callable

import pytest

from tests.support.brakes import actions, brake, confirm, engaged, hide, names, rounds, running, show
from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.jobs.inspection.strays import DISCOVERY_SECONDS
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.pools.control import Operator, PoolControl
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.guards import brakes


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """A pool that starts no clones."""
    return PoolWorld(db, pools=[pool(size=40)], config={"task_limit": 0})


STEPS = {
    Queue.RUNNING: Step.CHECK_RUNNING,
    Queue.READY: Step.CHECK_READY,
    Queue.PENDING: Step.CHECK_PENDING,
    Queue.COMPLETED: Step.DESTROY,
}


def work(step: Step, vm: str) -> Work:
    return Work(step, vm, POOL)


def test_a_brake_whose_cause_is_gone_is_released_by_itself(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    vms = running(world, 10)
    hide(world, vms)
    rounds(world, 2)
    engaged(world)
    show(world, vms)
    rounds(world, 2)
    assert brake(world) is None
    assert actions(world) == ["engage_brake", "release_brake"]
    said = [line for line in caplog.messages if "brake" in line]
    assert [line.partition("VMs: ")[0] for line in said] == [
        f"[!] [{POOL}] The brake is engaged: nothing is completed as unknown or as missing. ",
        f"[*] [{POOL}] The brake is released: its cause is gone",
    ]
    assert world.names_in(Queue.RUNNING) == set(vms)


def test_few_missing_vms_are_completed(world: PoolWorld) -> None:
    vms = running(world, 10)
    rounds(world, 1)
    hide(world, vms[:2])
    rounds(world)
    assert world.names_in(Queue.RUNNING) == set(vms[2:])
    assert world.names_in(Queue.COMPLETED) == set()
    assert brake(world) is None


def test_the_brake_of_a_new_pool_is_released_when_its_strays_are_gone(world: PoolWorld) -> None:
    show(world, ["pooler-stray"])
    rounds(world)
    engaged(world)
    hide(world, ["pooler-stray"])
    rounds(world, 1)
    assert brake(world) is None
    show(world, ["pooler-later"])
    rounds(world)
    assert world.provider.machines == {}, "from now on the pool is known"


def test_a_brake_stays_engaged_over_restarts_of_the_workers(world: PoolWorld, db: Database) -> None:
    vms = running(world, 10)
    hide(world, vms)
    rounds(world, 1)
    since = engaged(world).since
    later = PoolWorld(db, pools=world.pools, config=world.config, provider=world.provider, now=world.now + 3600)
    rounds(later)
    assert engaged(later).since == since
    assert later.names_in(Queue.RUNNING) == set(vms)
    assert actions(later) == ["engage_brake"]


@pytest.mark.parametrize("record", ["", "no JSON", "[]", "null", '{"confirmed": "yes"}', '{"confirmed": null}', "{}"])
def test_a_record_that_cannot_be_read_is_an_engaged_brake(world: PoolWorld, record: str) -> None:
    running(world, 10)
    rounds(world, 1)
    world.client.hset(keys.BRAKES.decode(), POOL, record)
    assert engaged(world).is_engaged
    assert brakes.is_engaged(world.db, POOL)
    show(world, ["pooler-stray"])
    rounds(world, 1)
    assert brake(world) is None, "the inspection that finds no cause releases it"


def test_vms_whose_destruction_has_started_neither_count_nor_are_held(world: PoolWorld) -> None:
    running(world, 4)
    rounds(world, 1)
    doomed = names(10, prefix="doomed")
    show(world, doomed)
    for vm in doomed:
        world.client.hset(keys.vm(vm.encode()), "destroy", world.stamp(3600))
    rounds(world)
    assert not set(doomed) & set(world.provider.machines)
    assert brake(world) is None
    show(world, [*names(9, prefix="unknown"), *doomed])
    rounds(world)
    assert engaged(world).strays == 9
    assert set(world.provider.machines) == {*names(4, prefix=POOL), *names(9, prefix="unknown")}


def test_a_pool_with_its_brake_engaged_goes_on_otherwise(world: PoolWorld) -> None:
    old = world.running_vm("pooler-old", 25 * 3600)
    vms = running(world, 10)
    rounds(world, 1)
    show(world, names(9, prefix="unknown"))
    world.completed_vm("pooler-done")
    world.config = {}
    world.pools = [pool(size=1)]
    rounds(world)
    engaged(world)
    assert world.names_in(Queue.RUNNING) == set(vms)
    assert not {old, "pooler-done"} & set(world.provider.machines)
    assert len(world.names_in(Queue.READY)) == 1


@pytest.mark.parametrize("queue", [Queue.RUNNING, Queue.READY, Queue.PENDING, Queue.COMPLETED])
def test_a_single_check_does_nothing_with_a_missing_vm_while_it_is_engaged(world: PoolWorld, queue: Queue) -> None:
    running(world, 10)
    rounds(world, 1)
    show(world, names(9, prefix="unknown"))
    world.inspect()
    put: dict[Queue, Callable[[], str]] = {
        Queue.RUNNING: lambda: world.running_vm("pooler-x", 60),
        Queue.READY: lambda: world.ready_vm("pooler-x", 60),
        Queue.PENDING: lambda: world.pending_vm("pooler-x", 16 * 60, clone_time="12.00"),
        Queue.COMPLETED: lambda: world.completed_vm("pooler-x"),
    }
    put[queue]()
    world.client.hdel(keys.vm(b"pooler-x"), "destroy")
    hide(world, ["pooler-x"])
    assert world.deliver(work(STEPS[queue], "pooler-x")) == "held"
    assert world.queues_of("pooler-x") == [queue]
    assert "destroy" not in world.metadata("pooler-x")
    assert world.dead_letters("ready") == []
    confirm(world)
    world.now += 3600
    assert world.deliver(work(STEPS[queue], "pooler-x")) != "held"
    assert queue not in world.queues_of("pooler-x")


def test_an_outage_between_two_inspections_engages_it_in_the_checks(world: PoolWorld) -> None:
    vms = running(world, 8)
    ready = [world.ready_vm(vm, 60) for vm in names(8, prefix="ready")]
    rounds(world, 1)
    hide(world, [*vms, *ready])
    outcomes = [world.deliver(work(Step.CHECK_RUNNING, vm)) for vm in vms]
    assert outcomes == ["completed"] * 4 + ["held"] * 4, "a quarter of the pool"
    world.now += 61
    assert {world.deliver(work(Step.CHECK_READY, vm)) for vm in ready} == {"held"}
    assert engaged(world).missing == 5
    rounds(world)
    assert engaged(world).missing == 12


def test_a_pending_vm_whose_clone_never_ended_is_removed_all_the_same(world: PoolWorld) -> None:
    running(world, 10)
    rounds(world, 1)
    for vm in names(9, prefix="lost"):
        world.vm(Queue.PENDING, vm, 16 * 60)
    rounds(world, 1)
    assert world.names_in(Queue.PENDING) == set()
    assert brake(world) is None


def test_a_confirmed_brake_lets_its_strays_go(world: PoolWorld) -> None:
    vms = running(world, 10)
    rounds(world, 1)
    show(world, names(9, prefix="stray"))
    rounds(world)
    confirm(world)
    rounds(world)
    assert set(world.provider.machines) == set(vms)
    assert brake(world) is None
    assert actions(world) == ["engage_brake", "confirm", "release_brake"]


def test_a_confirmed_brake_lets_its_missing_vms_go(world: PoolWorld) -> None:
    vms = running(world, 10)
    rounds(world, 1)
    hide(world, vms[:9])
    rounds(world)
    confirm(world)
    rounds(world)
    assert world.names_in(Queue.RUNNING) == {vms[9]}
    assert world.names_in(Queue.COMPLETED) == set()
    assert brake(world) is None


def test_a_confirmed_brake_of_a_new_pool_lets_its_strays_go(world: PoolWorld) -> None:
    show(world, names(34, prefix="stray"))
    rounds(world)
    confirm(world)
    rounds(world)
    assert world.provider.machines == {}
    assert brake(world) is None


def test_a_confirmation_counts_once(world: PoolWorld) -> None:
    running(world, 10)
    rounds(world, 1)
    show(world, names(9, prefix="stray"))
    rounds(world)
    confirm(world)
    rounds(world)
    show(world, names(9, prefix="again"))
    rounds(world)
    assert engaged(world).strays == 9
    assert set(names(9, prefix="again")) <= set(world.provider.machines)


def test_more_vms_than_were_confirmed_engage_it_again(world: PoolWorld) -> None:
    vms = running(world, 20)
    rounds(world, 1)
    show(world, names(9, prefix="stray"))
    rounds(world)
    confirm(world)
    show(world, names(1, prefix="more"))
    rounds(world)
    assert engaged(world).strays == 10
    assert len(world.provider.machines) == len(vms) + 10


def test_a_confirmation_during_an_inspection_counts_from_the_next_decision(world: PoolWorld) -> None:
    running(world, 10)
    rounds(world, 1)
    show(world, names(9, prefix="stray"))
    rounds(world)
    world.provider.before("list", lambda _: confirm(world))
    world.inspect()
    world.provider.before("list", None)
    found = brake(world)
    assert found is not None
    assert found.confirmed == 9
    rounds(world)
    assert not set(names(9, prefix="stray")) & set(world.provider.machines)


def test_two_workers_that_inspect_at_once_discover_nothing_of_too_many(world: PoolWorld) -> None:
    running(world, 10)
    rounds(world, 1)
    show(world, names(2, prefix="few"))
    world.inspect()
    world.now += DISCOVERY_SECONDS

    def beside(_: str) -> None:
        """Another inspection, whose lock this one has lost, finds many more."""
        world.provider.before("list", None)
        world.client.delete(keys.check_lock(POOL))
        show(world, names(9, prefix="many"))
        world.inspect()

    world.provider.before("list", beside)
    world.inspect()
    assert world.names_in(Queue.DISCOVERED) == set()
    engaged(world)


def test_a_stray_that_is_checked_out_meanwhile_is_not_discovered(world: PoolWorld) -> None:
    running(world, 10)
    rounds(world, 1)
    show(world, ["pooler-x"])
    world.inspect()
    world.now += DISCOVERY_SECONDS
    world.client.sadd(keys.queue(Queue.DISCOVERED, POOL), "pooler-x")
    world.client.sadd(keys.queue(Queue.RUNNING, POOL), "pooler-x")
    world.client.hset(keys.active(POOL), "pooler-x", world.stamp(0))
    rounds(world)
    assert world.queues_of("pooler-x") == [Queue.RUNNING]


def control(world: PoolWorld) -> PoolControl:
    return PoolControl(world.db, world.settings, world.clock, Operator(who="olga@host", why="the folder was cleared"))


def test_an_operator_confirms_a_brake_once(world: PoolWorld) -> None:
    running(world, 10)
    rounds(world, 1)
    assert control(world).confirm(POOL).text == "brake not engaged: there is nothing to release"
    show(world, names(9, prefix="stray"))
    rounds(world, 1)
    report = control(world).confirm(POOL)
    assert (report.changed, report.action) == (True, "confirm")
    assert report.text == (
        "brake released for 9 VMs (9 in no queue, 0 missing from the inventory, 19 known): the next inspections"
        " complete them. More than that engage it again"
    )
    again = control(world).confirm(POOL)
    assert (again.changed, again.text) == (False, "brake released already for 9 VMs")
    [entry] = [one for one in audit.read_newest(world.db, 10) if one.fields["action"] == "confirm"]
    assert dict(entry.fields) == {
        "action": "confirm",
        "who": "olga@host",
        "why": "the folder was cleared",
        "pool": POOL,
        "count": "9",
    }


def test_a_brake_of_a_pool_that_is_not_configured_can_be_confirmed(world: PoolWorld) -> None:
    world.client.hset(keys.BRAKES.decode(), "gone", '{"since": 1, "strays": 4}')
    assert control(world).find(["gone"]) == ["gone"]
    assert control(world).confirm("gone").changed
