"""What an operator orders for pools: pause, drain, resume, retry, each with its entry in the audit."""

import logging

import pytest

from tests.support.fleet import record_processes
from tests.support.manager_watch import see_other_manager
from tests.support.pool_world import RESET, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import InvalidInputError, ManagerOffError, PermanentProviderError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.pools.control import Operator, PoolControl
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.pools import breakers, pauses
from vmpooler_tasks.store.pools.breakers import BreakerLimits, CallKind

pytestmark = pytest.mark.both_servers

OTHER = "ubuntu-2004-x86_64"
MISSING = PermanentProviderError("template not found")


@pytest.fixture
def world(db: Database) -> PoolWorld:
    pools = [pool(size=3, alias=("linux", "centos")), pool(OTHER, size=1, alias=("linux",))]
    record_processes(db)
    return PoolWorld(db, pools=pools, config={"breaker_failures": 3, "task_limit": 100})


@pytest.fixture
def control(world: PoolWorld) -> PoolControl:
    return control_of(world)


def control_of(world: PoolWorld) -> PoolControl:
    return PoolControl(world.db, world.settings, world.clock, Operator(who="olga@host", why="new disks"))


def trail(world: PoolWorld) -> list[dict[str, str]]:
    return [dict(entry.fields) for entry in audit.read_newest(world.db, 20)][::-1]


def suspend(world: PoolWorld, error: Exception = MISSING) -> list[str]:
    """Let three clones fail. Return the names of the others."""
    names = sorted(world.clones() or world.names_in(Queue.PENDING))
    world.provider.raises("create", error, always=True)
    for vm in names[:3]:
        world.deliver(Work(Step.CLONE, vm, POOL))
    world.provider.raises("create")
    return names[3:]


def test_pause_and_resume_say_what_they_did(world: PoolWorld, control: PoolControl) -> None:
    report = control.pause(POOL)
    assert report.as_json() == {
        "pool": POOL,
        "action": "pause",
        "changed": True,
        "text": "paused: it gets no new clones. Checks, lifetimes and destructions go on",
        "hindered_by": [],
        "moved": 0,
        "taken_back": 0,
    }
    again = control.pause(POOL)
    assert (again.changed, again.text) == (
        False,
        "paused already, by olga@host since 2024-01-15T10:30:00Z: new disks",
    )
    report = control.resume(POOL)
    assert (report.changed, report.hindered_by) == (True, ())
    assert control.resume(POOL).text == "not paused"
    assert trail(world) == [
        {"action": action, "who": "olga@host", "why": "new disks", "pool": POOL} for action in ("pause", "resume")
    ]


def test_pause_and_drain_take_back_what_no_worker_has_started(world: PoolWorld, control: PoolControl) -> None:
    assert len(world.clones()) == 3
    report = control.pause(POOL)
    assert (report.taken_back, world.slots(), world.names_in(Queue.PENDING)) == (3, 0, set())
    assert report.text.endswith("go on. Clones taken back before they started: 3")
    control.resume(POOL)
    assert len(world.clones()) == 3
    report = control.drain(POOL)
    assert (report.taken_back, report.moved, world.names_in(Queue.COMPLETED)) == (3, 0, set())


def test_drain_moves_pending_and_ready_vms_at_once(world: PoolWorld, control: PoolControl) -> None:
    world.ready_vm("pooler-ready")
    world.pending_vm("pooler-pending")
    world.running_vm("pooler-running")
    control.pause(POOL)
    report = control.drain(POOL)
    text = "draining: 2 pending and ready VMs moved to completed. Still running: 1"
    assert (report.changed, report.moved, report.text) == (True, 2, text)
    assert world.names_in(Queue.COMPLETED) == {"pooler-ready", "pooler-pending"}
    assert (control.drain(POOL).changed, control.drain(POOL).moved) == (False, 0)
    assert control.pause(POOL).text == "paused: it is no longer drained, and still gets no new clones"
    world.ready_vm("pooler-late")
    world.inspect()
    assert world.queues_of("pooler-late") == [Queue.READY]


def test_names_and_aliases_are_found_once(control: PoolControl) -> None:
    assert control.find([OTHER, "linux", "centos"]) == [OTHER, POOL]


def test_an_unknown_name_is_refused_with_the_nearest(control: PoolControl) -> None:
    with pytest.raises(InvalidInputError, match=f"no pool 'centos-7-x86_65'; did you mean {POOL}?"):
        control.find(["centos-7-x86_65"])
    with pytest.raises(InvalidInputError, match=r"no provider 'script'; did you mean scripted\?"):
        control.find_provider("script")


def test_a_paused_pool_that_left_the_configuration_can_be_resumed(world: PoolWorld, control: PoolControl) -> None:
    control.pause(OTHER)
    world.pools = world.pools[:1]
    report = control_of(world).resume(control_of(world).find([OTHER])[0])
    assert report.changed
    assert report.hindered_by == (f"pool {OTHER!r} is not configured: no worker inspects it",)


def test_without_manage_pools_it_is_refused(world: PoolWorld) -> None:
    world.config = {"manage_pools": False}
    with pytest.raises(ManagerOffError) as error:
        control_of(world)
    assert error.value.exit_status == 78


def test_retry_lets_one_clone_try_a_suspended_pool(world: PoolWorld, control: PoolControl) -> None:
    suspend(world)
    assert world.clones() == []
    report = control.retry_pool(POOL)
    text = "one clone tries it now. If it succeeds, the suspension ends"
    assert (report.changed, report.text, report.hindered_by) == (True, text, ())
    assert (control.retry_pool(POOL).changed, len(trail(world))) == (False, 1), "it is due already"
    [trial] = world.clones()
    assert world.deliver(Work(Step.CLONE, trial, POOL)) == "ready"
    assert len(world.clones()) == 2
    assert trail(world)[-1]["action"] == "retry"


def test_a_trial_that_fails_suspends_the_pool_again(world: PoolWorld, control: PoolControl) -> None:
    suspend(world)
    control.retry_pool(POOL)
    [trial] = world.clones()
    world.provider.raises("create", MISSING)
    world.deliver(Work(Step.CLONE, trial, POOL))
    assert world.clones() == []


def test_retry_of_a_provider_wakes_the_clones_that_wait_for_it(world: PoolWorld, control: PoolControl) -> None:
    world.pools = [pool(size=6)]
    first, second, third = suspend(world, RESET)
    assert [world.deliver(Work(Step.CLONE, vm, POOL)) for vm in (first, second, third)] == ["suspended"] * 3
    assert world.reap() == []
    assert control.retry_provider("scripted").changed
    world.now += 0.001
    assert {work.vm for work in world.reap()} >= {first, second, third}
    seen: list[str] = []

    def deliver_second(_: str) -> None:
        seen.append(world.deliver(Work(Step.CLONE, second, POOL)))
        seen.append(control.retry_provider("scripted").text)

    world.provider.before("create", deliver_second)
    assert world.deliver(Work(Step.CLONE, first, POOL)) == "ready"
    assert seen == ["suspended", "a clone that tries it is running already"]
    world.provider.before("create", None)
    assert world.deliver(Work(Step.CLONE, third, POOL)) == "ready"


def test_retry_of_what_is_not_suspended_changes_nothing(world: PoolWorld, control: PoolControl) -> None:
    report = control.retry_pool(POOL)
    assert (report.changed, report.text) == (False, "not suspended: there is nothing to try")
    assert trail(world) == []
    assert not world.client.exists(keys.pool_breaker(POOL))


def test_retry_lifts_no_pause_and_says_what_hinders(world: PoolWorld, control: PoolControl) -> None:
    suspend(world)
    suspend(world, RESET)
    control.pause(POOL)
    see_other_manager(world.client)
    report = control.retry_pool(POOL)
    assert report.changed
    paused = pauses.read_paused(world.db)[POOL].text(POOL)
    assert report.hindered_by[:2] == (
        f"{paused} (`vmpooler-tasks pools resume {POOL}` ends that)",
        "another pool manager is at work on this Redis: these workers do nothing",
    )
    assert world.clones() == []


def test_retry_says_which_process_is_missing(world: PoolWorld, control: PoolControl) -> None:
    world.client.delete(fleet_keys.HEARTBEATS, fleet_keys.HEARTBEAT_TIMES)
    missing = ("no beat is alive", "no worker takes vmpooler.check and vmpooler.clone")
    assert control.retry_pool(POOL).hindered_by == missing
    assert control.retry_provider("scripted").hindered_by == missing


def test_retry_of_a_pool_names_its_suspended_provider(world: PoolWorld, control: PoolControl) -> None:
    breakers.count_failure(world.db, "scripted", CallKind.INVENTORY, BreakerLimits(1, 30), now=world.now)
    [hindrance] = control.retry_pool(POOL).hindered_by
    assert hindrance.startswith("its provider 'scripted' is suspended until 2024-01-15T10:3")
    assert "pools retry --provider scripted" in hindrance


def test_an_order_is_logged_if_it_changed_something(control: PoolControl, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    control.pause(POOL)
    control.pause(POOL)
    assert [line for line in caplog.messages if "pause" in line] == [
        f"[*] [{POOL}] pause by olga@host: paused: it gets no new clones. Checks, lifetimes and destructions go on"
    ]
