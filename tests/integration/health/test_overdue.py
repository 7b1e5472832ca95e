"""Purges and checks that are late, have failed or were left unfinished."""

from typing import Any

import pytest

from tests.support.cycles import cycle
from tests.support.health_checks import QUIET, check, reasons
from tests.support.world import POOL, World, settings
from vmpooler_tasks.errors import StoreRefusedError
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.purge import state as purge_state
from vmpooler_tasks.store.purge.state import PurgeLock

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize("text", ["abc", "", "nan", "inf", b"\xff", "1e999"])
def test_times_that_cannot_be_read_count_as_never(world: World, text: Any) -> None:
    world.client.hset(keys.PURGE_STATE, mapping={"started": text, "finished": text, "skipped_queues": text})
    world.client.hset(
        keys.HEALTH_STATE, mapping={"last_check": text, "purge_expected": text, "empty_since": text, b"\xff": "1"}
    )
    report = check(world, settings())
    assert report.assessment.reasons == ()
    world.now += 60
    assert check(world, settings()).assessment.status is Status.HEALTHY
    assert world.client.hget(keys.HEALTH_STATE, "last_check") == str(world.now).encode()


@pytest.mark.parametrize("skipped", ["[5]", '[["p", "ready"]]', '[["p", "ready", "much"]]', '{"a": 1}', "5"])
def test_skipped_queues_that_cannot_be_read_count_as_none(world: World, skipped: str) -> None:
    world.client.hset(keys.PURGE_STATE, "skipped_queues", skipped)
    assert reasons(check(world)) == []


def test_a_purge_that_never_ran_is_overdue_since_it_was_expected(world: World) -> None:
    world.now -= 100 * DAY
    check(world, settings(purge_enabled=False, **QUIET))
    world.now += 100 * DAY
    chosen = settings(purge_interval=HOUR, health_check_interval=1000 * DAY)
    assert reasons(check(world, chosen)) == []
    world.now += 2 * HOUR
    assert reasons(check(world, chosen)) == []
    world.now += 1
    report = check(world, chosen)
    assert reasons(report) == [("purge_overdue", None)]
    assert report.assessment.reasons[0].measured == 2 * HOUR + 1
    cycle(world, chosen)
    assert reasons(check(world, chosen)) == []


def test_a_purge_that_stopped_is_overdue_and_logged_as_died(world: World, caplog: pytest.LogCaptureFixture) -> None:
    chosen = settings(purge_interval=HOUR, health_check_interval=1000 * DAY)
    check(world, chosen)
    cycle(world, chosen)
    world.now += 3 * HOUR + 2
    assert reasons(check(world, chosen)) == [("purge_overdue", None)]
    assert any(line.startswith("[!] [queue_purge] worker thread died") for line in caplog.messages)


def test_a_purge_that_is_switched_off_is_never_overdue(world: World) -> None:
    chosen = settings(purge_enabled=False, purge_interval=1, health_check_interval=1000 * DAY)
    check(world, chosen)
    world.now += DAY
    assert reasons(check(world, chosen)) == []


def test_a_late_health_check_reports_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    chosen = settings(purge_interval=1000 * DAY, health_check_interval=300)
    check(world, chosen)
    world.now += 900
    assert reasons(check(world, chosen)) == []
    world.now += 901
    assert reasons(check(world, chosen)) == [("health_overdue", None)]
    assert any(
        line.startswith("[!] [health_check] worker thread died: health checks are ")
        and "; nothing to do after a restart" in line
        for line in caplog.messages
    )


def test_a_purge_that_failed_shows_until_one_works(world: World) -> None:
    check(world)
    world.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreRefusedError):
            cycle(world)
        assert reasons(check(world)) == [("purge_failed", None)]
    finally:
        world.client.config_set("maxmemory", "0")
    assert reasons(check(world)) == [("purge_failed", None)]
    cycle(world)
    assert reasons(check(world)) == []


def test_a_purge_whose_worker_was_killed_shows_once_its_lock_is_free(world: World) -> None:
    lock = PurgeLock(world.db)
    assert lock.acquire()
    purge_state.record_start(world.db, world.now)
    world.now += 30
    assert reasons(check(world)) == [], "it is running"
    lock.release()
    report = check(world)
    assert reasons(report) == [("purge_unfinished", None)]
    assert report.assessment.reasons[0].measured == 30
    cycle(world)
    assert reasons(check(world)) == []


def test_a_purge_that_skipped_a_queue_shows(world: World) -> None:
    world.vm(Queue.READY, "pooler-a", 2 * DAY)
    cycle(world, settings(purge_max_percent=50))
    report = check(world, settings(purge_max_percent=50, **QUIET))
    [reason] = report.assessment.reasons
    assert (reason.code, reason.pool, reason.queue, reason.measured, reason.threshold) == (
        "purge_aborted",
        POOL,
        "ready",
        100,
        50,
    )
