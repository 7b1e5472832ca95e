"""A fact that changes causes a check at once: one for all processes, and not too often."""

import pytest

from tests.support.fleet import beat, let_pass, record_processes, worker
from tests.support.manager_watch import forget_watch, see_other_manager
from tests.support.promises import run_health
from tests.support.world import POOL, World, settings
from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.jobs.health import watch
from vmpooler_tasks.jobs.health.watch import MIN_PAUSE_SECONDS, WATCH_TURN_SECONDS, Watch
from vmpooler_tasks.model.fleet import ALIVE_SECONDS
from vmpooler_tasks.model.health.assessment import ALL_EMPTY_GRACE
from vmpooler_tasks.model.health.metrics import HealthMetrics
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.tasks.observe import watcher


def turn(world: World, chosen: Settings | None = None) -> int:
    """Let a process take its turn. Return how many checks it made."""
    published: list[HealthMetrics] = []
    own = Watch(
        db=world.db,
        settings=chosen or settings(),
        clock=world.clock,
        publish=lambda metrics, *_: published.append(metrics),
    )
    world.db.call("DEL", keys.HEALTH_WATCH)
    watch.take_turn(own)
    return len(published)


def status(world: World) -> str:
    return health_record.read_status(world.db)["status"]


@pytest.fixture
def checked(world: World) -> World:
    """A world that was checked and found healthy, a pause ago."""
    world.vm(Queue.READY, "pooler-ready", 60)
    run_health(world)
    return world


def pass_pause(world: World) -> None:
    assert 0 < world.client.pttl(keys.HEALTH_CHECK_LOCK) <= MIN_PAUSE_SECONDS * 1000
    world.client.delete(keys.HEALTH_CHECK_LOCK)


def test_a_changed_fact_is_checked_within_fifteen_seconds() -> None:
    """The promise of the guide. Tests with real processes do not measure it: their machine may be busy."""
    killed_after_its_heartbeat = ALIVE_SECONDS + watcher.TICK_SECONDS
    changed_after_a_check = MIN_PAUSE_SECONDS + watcher.TICK_SECONDS + WATCH_TURN_SECONDS
    assert max(killed_after_its_heartbeat, changed_after_a_check) <= 15


def test_nothing_changed_is_no_check(checked: World) -> None:
    assert turn(checked) == 0
    record_processes(checked.db)
    checked.now += 60
    assert turn(checked) == 0


def test_before_the_first_check_nothing_is_compared(world: World) -> None:
    assert turn(world) == 0


def test_another_manager_that_comes_and_goes_is_checked_both_times(world: World) -> None:
    chosen = settings(manage_pools=True)
    run_health(world, chosen)
    see_other_manager(world.client)
    assert turn(world, chosen) == 1
    assert "other_manager" in world.client.hget(keys.HEALTH, "reasons").decode()
    assert turn(world, chosen) == 0
    pass_pause(world)
    forget_watch(world.client)
    assert turn(world, chosen) == 1
    assert "other_manager" not in world.client.hget(keys.HEALTH, "reasons").decode()


def test_a_process_that_disappears_and_returns_is_checked_both_times(checked: World) -> None:
    let_pass(checked.db, worker(), ALIVE_SECONDS + 1)
    assert (turn(checked), status(checked)) == (1, "unhealthy")
    assert turn(checked) == 0
    pass_pause(checked)
    record_processes(checked.db)
    assert (turn(checked), status(checked)) == (1, "healthy")
    pass_pause(checked)
    let_pass(checked.db, beat(), ALIVE_SECONDS + 1)
    assert (turn(checked), status(checked)) == (1, "unhealthy")


def test_the_check_that_ends_an_outage_reports_it_and_the_next_turn_ends_that(checked: World) -> None:
    checked.now += 4 * settings().config.health_check_interval
    record_processes(checked.db)
    run_health(checked)
    assert status(checked) == "degraded", "health_overdue"
    assert (turn(checked), status(checked)) == (1, "healthy")
    assert turn(checked) == 0


def test_a_pool_that_becomes_empty_is_checked_and_again_when_that_lasts(checked: World) -> None:
    sized = settings().model_copy(update={"pools": (Pool(name=POOL, size=2),)})
    run_health(checked, sized)
    checked.client.delete(keys.queue(Queue.READY, POOL))
    assert (turn(checked, sized), status(checked)) == (1, "healthy")
    pass_pause(checked)
    record_processes(checked.db)
    checked.now += ALL_EMPTY_GRACE
    assert (turn(checked, sized), status(checked)) == (1, "unhealthy")
    pass_pause(checked)
    record_processes(checked.db)
    checked.vm(Queue.READY, "pooler-new", 1)
    assert (turn(checked, sized), status(checked)) == (1, "healthy")


def test_checks_keep_a_pause(checked: World) -> None:
    let_pass(checked.db, worker(), ALIVE_SECONDS + 1)
    assert turn(checked) == 1
    record_processes(checked.db)
    assert turn(checked) == 0, "the change waits for the end of the pause"
    pass_pause(checked)
    assert turn(checked) == 1


def test_one_process_watches_for_all(checked: World) -> None:
    let_pass(checked.db, worker(), ALIVE_SECONDS + 1)
    checked.db.call("SET", keys.HEALTH_WATCH, "1", "PX", 60_000)
    published: list[HealthMetrics] = []
    watch.take_turn(
        Watch(
            db=checked.db,
            settings=settings(),
            clock=checked.clock,
            publish=lambda metrics, *_: published.append(metrics),
        )
    )
    assert published == []


def test_another_configuration_has_facts_of_its_own(checked: World) -> None:
    other = settings(pools=("other",))
    assert turn(checked, other) == 1
    pass_pause(checked)
    assert (turn(checked, other), turn(checked)) == (0, 0)


def test_these_checks_do_not_renew_the_status(checked: World) -> None:
    before = health_record.read_status(checked.db)["last_scheduled_check"]
    checked.now += 100
    let_pass(checked.db, worker(), ALIVE_SECONDS + 1)
    assert turn(checked) == 1
    after = health_record.read_status(checked.db)
    assert after["last_scheduled_check"] == before
    assert after["last_check"] > before


def test_switched_off_is_not_watched(checked: World) -> None:
    let_pass(checked.db, worker(), ALIVE_SECONDS + 1)
    assert turn(checked, settings(health_check_enabled=False)) == 0


def test_an_unreadable_key_is_checked(checked: World) -> None:
    checked.client.delete(fleet_keys.SCHEDULE)
    checked.client.set(fleet_keys.SCHEDULE, "x")
    assert turn(checked) == 1
