"""Dry runs, purges that are switched off or forced, purge_max_percent, and one cycle at a time."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.cycles import audit, counters, cycle
from tests.support.fleet import record_processes
from tests.support.promises import dead_letters
from tests.support.world import POOL, World, settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.purge import cycle as purge_cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store import Database, PendingReply, keys
from vmpooler_tasks.store.purge import state as purge_state
from vmpooler_tasks.store.purge.state import PurgeLock

HOUR, DAY = 3600, 86400
OTHER = "ubuntu-2004-x86_64"


def some_of_everything(world: World) -> dict[str, int]:
    """Stale entries of every kind, and how many of each."""
    for index in range(3):
        world.vm(Queue.PENDING, f"pooler-p{index}", 7201)
    world.vm(Queue.READY, "pooler-r", DAY + 1)
    world.vm(Queue.COMPLETED, "pooler-c", HOUR + 1)
    world.vm(None, "pooler-o", 2 * DAY)
    world.vm(Queue.PENDING, "pooler-untimed", None)
    world.client.zadd("vmpooler__provisioning__request", {"stuck": world.now - 2 * DAY})
    world.client.hset("vmpooler__odrequest__stuck", "requested", "a:b:1")
    world.client.zadd("vmpooler__dlq__clone", {"expired:1:{}": 1})
    return {"pending": 3, "ready": 1, "completed": 1, "orphaned": 1, "requests": 1}


@pytest.mark.parametrize("options", [{}, {"purge_dry_run": True}])
def test_a_dry_run_by_option_changes_nothing_and_reports_what_it_found(world: World, options: dict[str, Any]) -> None:
    expected = some_of_everything(world)
    # Creates keys of our own, which have to stay unchanged.
    cycle(world, settings(pools=(POOL, "none")), queues=("ready",), pools=("none",))
    before = world.snapshot()
    report = cycle(world, settings(**options), dry_run=True)
    assert world.snapshot() == before
    assert report.dry_run
    assert report.found == expected
    assert report.purged.total() == 0
    assert report.total == 7
    assert len(report.entries) == 7


@pytest.mark.parametrize("order", [{}, {"force": True}])
def test_a_configured_dry_run_changes_nothing_but_the_record_of_its_run(world: World, order: dict[str, Any]) -> None:
    expected = some_of_everything(world)
    before = world.snapshot()
    report = cycle(world, settings(purge_dry_run=True), **order)
    assert report.found == expected
    assert report.purged.total() == 0
    after = world.snapshot()
    ours = {key for key in after if key not in before}
    assert ours == {b"vmpooler_tasks__purge", b"vmpooler_tasks__audit", b"vmpooler_tasks__counters"}
    assert {key: value for key, value in after.items() if key in before} == before
    assert purge_state.read(world.db).finished is not None
    assert audit(world)[-1]["dry_run"] == "true"


def test_a_configured_dry_run_is_a_run_to_the_health_check(world: World) -> None:
    chosen = settings(purge_dry_run=True, purge_interval=60, health_check_interval=60)
    for _ in range(10):
        cycle(world, chosen)
        world.now += 60
        record_processes(world.db)
        report = health_check.run(world.db, chosen, world.clock)
        assert report is not None
        assert report.assessment.reasons == ()


def test_a_dry_run_says_found_and_never_purged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    some_of_everything(world)
    cycle(world, dry_run=True)
    assert "[*] [purge][dry-run] Would purge stale ready VM 'pooler-r' (age: 86401s, max: 86400s)" in caplog.messages
    assert (
        "[*] [purge][dry-run] Would purge orphaned metadata for 'pooler-o' (age: 172800s, max: 86400s)"
        in caplog.messages
    )
    assert (
        "[*] [purge][dry-run] Would fail stuck on-demand request 'stuck' (age: 172800s, max: 86400s)" in caplog.messages
    )
    assert caplog.messages[-1].startswith("[*] [purge][dry-run] Completed purge cycle in ")
    assert caplog.messages[-1].endswith(": 7 entries found, nothing changed")
    assert not any(
        word in line for line in caplog.messages for word in ("Purged", "purged", "Moved", "Removed", "Set exp")
    )


def test_a_dry_run_finds_what_a_cycle_then_purges(world: World) -> None:
    some_of_everything(world)
    found = cycle(world, dry_run=True).found
    report = cycle(world)
    assert report.found == found
    # What leaves completed is an orphan in the same cycle only once it really left; a dry run cannot see that.
    assert report.purged == found


def test_a_dry_run_reports_while_another_cycle_runs(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201)
    assert PurgeLock(world.db, "somebody else").acquire()
    assert cycle(world, dry_run=True).found == {"pending": 1}


@pytest.mark.parametrize("order", [{}, {"who": "beat"}, {"pools": (POOL,)}, {"queues": ("pending",)}])
def test_switched_off_a_purge_does_nothing_and_says_so(
    world: World, order: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    some_of_everything(world)
    before = world.snapshot()
    report = cycle(world, settings(purge_enabled=False), **order)
    assert world.snapshot() == before
    assert (report.total, report.skipped) == (0, "purge is switched off (purge_enabled: false)")
    assert report.as_json()["skipped"] == report.skipped
    assert "[*] [purge] Skipped purge cycle: purge is switched off (purge_enabled: false)" in caplog.messages


def test_switched_off_a_dry_run_reports_and_force_runs(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201)
    off = settings(purge_enabled=False)
    assert cycle(world, off, dry_run=True).found == {"pending": 1}
    assert cycle(world, off, force=True).purged == {"pending": 1}
    assert world.members(Queue.PENDING) == set()


def crowd(world: World, queue: Queue, stale: int, fresh: int, pool: str = POOL) -> None:
    for index in range(stale):
        world.vm(queue, f"{pool}-{queue}-stale-{index}", 2 * DAY, pool=pool)
    for index in range(fresh):
        world.vm(queue, f"{pool}-{queue}-fresh-{index}", 60, pool=pool)


def test_a_queue_that_would_lose_too_much_is_skipped_and_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    crowd(world, Queue.READY, stale=6, fresh=4)
    crowd(world, Queue.READY, stale=5, fresh=5, pool=OTHER)
    crowd(world, Queue.PENDING, stale=1, fresh=3)
    report = cycle(world, settings(pools=(POOL, OTHER), purge_max_percent=50))
    assert report.purged == {"ready": 5, "pending": 1}
    assert len(world.members(Queue.READY)) == 10
    assert report.skipped_queues == [(POOL, "ready", 60.0)]
    why = "6 of 10 entries are stale (60.0 %), more than purge_max_percent (50 %)"
    line = f"Skipped the ready queue of '{POOL}': {why}"
    assert report.errors == [line]
    assert f"[!] [purge] {line}" in caplog.messages
    assert purge_state.read(world.db).skipped_queues == [(POOL, "ready", 60.0)]


def test_force_overrules_the_share(world: World) -> None:
    crowd(world, Queue.READY, stale=6, fresh=4)
    assert cycle(world, settings(purge_max_percent=50), force=True).purged == {"ready": 6}


def test_without_a_share_everything_may_go(world: World) -> None:
    crowd(world, Queue.READY, stale=6, fresh=0)
    assert cycle(world).purged == {"ready": 6}


def test_a_dry_run_reports_the_share_as_well(world: World) -> None:
    crowd(world, Queue.READY, stale=6, fresh=4)
    before = world.snapshot()
    report = cycle(world, settings(purge_max_percent=50), dry_run=True)
    assert report.found[PurgeTarget.READY] == 6
    assert len(report.entries) == 6
    why = "6 of 10 entries are stale (60.0 %), more than purge_max_percent (50 %)"
    assert report.errors == [f"Would skip the ready queue of '{POOL}': {why}"]
    assert world.snapshot() == before


def test_a_forced_purge_of_the_skipped_pool_settles_it_and_no_other(world: World) -> None:
    chosen = settings(pools=(POOL, OTHER), purge_max_percent=50)
    for pool in (POOL, OTHER):
        crowd(world, Queue.READY, stale=6, fresh=4, pool=pool)
    cycle(world, chosen)
    ran = purge_state.read(world.db).finished
    world.now += 100
    assert cycle(world, chosen, pools=(POOL,), force=True).purged == {"ready": 6}
    assert purge_state.read(world.db).skipped_queues == [(OTHER, "ready", 60.0)]
    assert purge_state.read(world.db).finished == ran  # a part of a cycle is none


def test_a_mistake_of_ours_in_mid_cycle_is_logged_and_recorded_as_well(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201)

    class Breaking(Database):
        def send(self, script: str, keys: Sequence[bytes], args: Sequence[Any], *parse: Any) -> PendingReply[Any]:
            if script == "purge/purge_pending":
                raise TypeError("broken on purpose")
            return super().send(script, keys, args, *parse)

    order = PurgeOptions(who="test")
    with pytest.raises(TypeError, match="on purpose"):
        purge_cycle.run(Breaking(world.db.address), settings(), world.clock, order)
    assert "[!] [purge] Failed during purge cycle: TypeError: broken on purpose" in caplog.messages
    assert purge_state.read(world.db).failure == "TypeError: broken on purpose"
    assert purge_state.read(world.db).unfinished_since is None
    assert cycle(world).purged[PurgeTarget.PENDING] == 1


def test_a_skipped_queue_is_purged_once_its_share_is_small_again(world: World) -> None:
    crowd(world, Queue.READY, stale=6, fresh=4)
    chosen = settings(purge_max_percent=50)
    cycle(world, chosen)
    crowd(world, Queue.READY, stale=0, fresh=20)
    assert cycle(world, chosen).purged == {"ready": 6}
    assert purge_state.read(world.db).skipped_queues == []


def test_a_second_cycle_is_skipped_and_says_so_and_takes_no_lock_away(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    expected = some_of_everything(world)
    other = PurgeLock(world.db, "host:1:abc")
    assert other.acquire()
    before = world.snapshot()
    report = cycle(world)
    assert world.snapshot() == before
    assert report.skipped == "another one is running (host:1:abc)"
    assert "[*] [purge] Skipped purge cycle: another one is running (host:1:abc)" in caplog.messages
    assert other.holder() == "host:1:abc"
    other.release()
    assert cycle(world).purged == expected


def test_the_lock_is_free_after_a_cycle_and_holds_with_an_expiry_during_it(world: World) -> None:
    lock = PurgeLock(world.db)
    assert lock.acquire()
    assert not PurgeLock(world.db).acquire()
    assert 0 < world.client.pttl(keys.PURGE_LOCK.decode()) <= 60_000
    lock.release()
    cycle(world)
    assert not world.client.exists(keys.PURGE_LOCK.decode())


def test_a_lock_that_went_to_somebody_else_is_not_released(world: World) -> None:
    lost = PurgeLock(world.db, "first")
    assert lost.acquire()
    world.client.delete(keys.PURGE_LOCK.decode())  # as if it had expired
    assert PurgeLock(world.db, "second").acquire()
    lost.release()
    assert lost.holder() == "second"


def test_a_cycle_that_ended_by_itself_releases_its_lock_even_if_it_failed(world: World) -> None:
    world.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(Exception, match="Redis refused a command"):
            cycle(world)
    finally:
        world.client.config_set("maxmemory", "0")
    assert not world.client.exists(keys.PURGE_LOCK.decode())


def test_only_a_whole_cycle_counts_as_the_purge_having_run(world: World) -> None:
    cycle(world, pools=(POOL,))
    cycle(world, queues=("pending",))
    assert purge_state.read(world.db).finished is None
    cycle(world)
    assert purge_state.read(world.db).finished is not None
    assert [entry["action"] for entry in audit(world)] == ["purge"] * 3
    assert counters(world)["purge_cycles"] == 3


def test_a_dry_run_writes_no_dead_letters(world: World) -> None:
    some_of_everything(world)
    cycle(world, dry_run=True)
    assert dead_letters(world) == []
