"""Any number of beats: each tick is sent once, by one of them, also when beats and Redis come and go."""

import re
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.messages import QUEUE, message, send, waiting
from tests.support.processes import Installation, Process, until
from tests.support.servers import TestServer
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.store.fleet import audit, heartbeats, schedule
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.tasks.celery.schedule import MAX_WAITING_MESSAGES
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, PURGE

pytestmark = [pytest.mark.stage(name="fleet"), pytest.mark.slow(seconds=80)]

LONG = 3600
OFTEN: dict[str, Any] = {"beat_max_loop_interval": 1}
"""How often a beat reads the schedule at the least."""


def sent(*beats: Process, task: str = "") -> list[str]:
    """Return the tasks that these beats have sent, by their logs."""
    return [name for beat in beats for name in re.findall(r"\[\*\] \[beat\] Sent (\S+)", beat.log) if task in name]


def begin_at(database: Database, *entries: str) -> float:
    """Record that these entries tick in a second, and return when. All further ticks are counted from then."""
    now = float(database.call("TIME")[0]) + 1
    for entry in entries:
        database.call("HSET", fleet_keys.SCHEDULE, entry, now)
    return now


def intervals_since(begin: float, database: Database, entry: str, interval: float) -> int:
    """Return how many ticks may have been sent: one for each whole interval up to the last recorded tick."""
    return int((last_tick(database, entry) - begin) / interval)


def has_looked(database: Database, *beats: Process) -> None:
    """Wait until each of these beats has gone through its whole schedule."""

    def signs(beat: Process) -> float:
        name = f"beat:{socket.gethostname()}:{beat.process.pid}" if beat.process else ""
        return float(database.call("ZSCORE", fleet_keys.HEARTBEAT_TIMES, name) or 0)

    for beat in beats:
        first = until(partial(signs, beat), "it reads its schedule")
        until(partial(lambda beat, first: signs(beat) > first, beat, first), "it reads it again")


def last_tick(database: Database, entry: str) -> float:
    return float(schedule.read_last_ticks(database).get(entry, "0"))


def purges(database: Database) -> int:
    return len([entry for entry in audit.read_newest(database, 1000) if entry.fields["who"] == "beat"])


def checks(database: Database) -> int:
    return len(health_record.read_history(database, 0))


def test_the_first_ticks_come_at_once_and_once(installation: Installation, database: Database) -> None:
    installation.configure(purge_interval=LONG, health_check_interval=LONG)
    beats = [installation.beat(name=name, **OFTEN) for name in ("one", "two")]
    has_looked(database, *beats)
    assert sorted(sent(*beats)) == [PURGE, HEALTH_CHECK]
    assert waiting(database) == 2


def test_two_beats_and_two_workers_double_nothing(installation: Installation, database: Database) -> None:
    installation.configure(purge_interval=1, health_check_interval=1)
    workers = [installation.worker(name=name) for name in ("w1", "w2")]
    begin = begin_at(database, "purge", "health")
    beats = [installation.beat(name=name) for name in ("one", "two")]
    until(lambda: min(len(sent(*beats, task=task)) for task in (PURGE, HEALTH_CHECK)) >= 6, "six ticks of each")
    for beat in beats:
        beat.stop()
    until(lambda: waiting(database) == 0, "the workers have done what was sent")
    by_change = sum(process.log.count("Checking now, because of a change") for process in (*workers, *beats))
    scheduled = checks(database) - by_change
    for entry, task, runs in (("purge", PURGE, purges(database)), ("health", HEALTH_CHECK, scheduled)):
        count = len(sent(*beats, task=task))
        assert count <= intervals_since(begin, database, entry, 1)
        assert 0 < runs <= count  # fewer only where a tick expired before a worker had time for it


def test_a_killed_beat_leaves_no_gap(installation: Installation, database: Database) -> None:
    installation.configure(purge_interval=1, health_check_enabled=False)
    begin = begin_at(database, "purge")
    one = installation.beat(name="one")
    until(lambda: len(sent(one)) >= 2, "it sends")
    two = installation.beat(name="two")
    until(lambda: len(heartbeats.read_fleet(database).beats) == 2, "both run")
    one.kill()
    # Well within the half-minute after which a claim or a beat counts as lost.
    until(lambda: len(sent(two)) >= 2, "the other goes on", seconds=20)
    assert len(sent(one, two)) <= intervals_since(begin, database, "purge", 1)


def test_a_restarted_beat_neither_repeats_nor_delays_a_cycle(installation: Installation, database: Database) -> None:
    installation.configure(purge_interval=LONG, health_check_interval=LONG)
    first = installation.beat()
    until(lambda: len(sent(first)) == 2, "the first ticks")
    first.kill()
    now = float(database.call("TIME")[0])
    database.call("HSET", fleet_keys.SCHEDULE, "purge", now - LONG - 1)  # has become due while no beat ran …
    database.call("HSET", fleet_keys.SCHEDULE, "health", now - LONG / 2)  # … and this has not
    again = installation.beat(**OFTEN)
    has_looked(database, again)
    assert sent(again) == [PURGE]
    another = installation.beat(name="another", **OFTEN)
    has_looked(database, again, another)
    assert sent(again, another) == [PURGE]
    assert last_tick(database, "purge") >= now
    assert last_tick(database, "health") == now - LONG / 2


def test_many_missed_intervals_are_one_tick(installation: Installation, database: Database) -> None:
    installation.configure(purge_interval=LONG, health_check_enabled=False)
    database.call("HSET", fleet_keys.SCHEDULE, "purge", float(database.call("TIME")[0]) - 100 * LONG)
    beat = installation.beat(**OFTEN)
    has_looked(database, beat)
    assert sent(beat) == [PURGE]
    assert waiting(database) == 1


def test_a_tick_told_by_a_clock_far_ahead_is_not_waited_for(installation: Installation, database: Database) -> None:
    installation.configure(purge_interval=LONG, health_check_enabled=False)
    database.call("HSET", fleet_keys.SCHEDULE, "purge", float(database.call("TIME")[0]) + 100 * LONG)
    beat = installation.beat(**OFTEN)
    has_looked(database, beat)
    assert sent(beat) == [PURGE]


def test_a_tick_nobody_can_read_is_not_the_end_of_beat(installation: Installation, database: Database) -> None:
    installation.configure(purge_interval=LONG, health_check_enabled=False)
    database.call("HSET", fleet_keys.SCHEDULE, "purge", "no time")
    beat = installation.beat(**OFTEN)
    has_looked(database, beat)
    assert sent(beat) == [PURGE]


def test_an_interval_changes_with_a_restart_of_beat_alone(installation: Installation, database: Database) -> None:
    installation.configure(purge_interval=LONG, health_check_enabled=False)
    worker = installation.worker()
    beat = installation.beat()
    until(lambda: purges(database) == 1, "the first cycle")
    beat.stop()
    installation.configure(purge_interval=1, health_check_enabled=False)
    beat = installation.beat()
    until(lambda: purges(database) >= 3, "cycles come at the new interval")
    assert "every 3600 s" in worker.log


def test_ticks_expire_instead_of_piling_up(installation: Installation, database: Database) -> None:
    installation.configure(purge_interval=1, health_check_interval=1)
    beat = installation.beat()
    until(lambda: min(len(sent(beat, task=task)) for task in (PURGE, HEALTH_CHECK)) >= 3, "three ticks of each")
    beat.stop()
    piled_up = int(database.call("LLEN", QUEUE))
    assert piled_up >= 6
    worker = installation.worker()
    until(lambda: waiting(database) == 0, "all are gone")
    assert purges(database) <= 1
    assert checks(database) <= 1
    assert worker.log.count("Discarding revoked task") >= piled_up - 2
    assert database.call("EXISTS", keys.dead_letters(DeadLetterQueue.TASKS)) == 0


def test_a_beat_adds_nothing_to_a_queue_that_no_worker_empties(installation: Installation, database: Database) -> None:
    for _ in range(MAX_WAITING_MESSAGES):
        send(database, message(PURGE))
    beat = installation.beat(**OFTEN)
    beat.says(f"is not sent: {MAX_WAITING_MESSAGES} messages wait, and no worker takes them")
    assert sent(beat) == []
    assert waiting(database) == MAX_WAITING_MESSAGES


def test_beats_and_workers_survive_a_redis_that_comes_late_and_is_killed(tmp_path: Path) -> None:
    server = TestServer("valkey", tmp_path, ("--appendonly", "yes", "--appendfsync", "always")).start()
    database = Database(server.url)
    begin = begin_at(database, "purge")
    server.kill()
    with Installation(server.url, tmp_path) as installation:
        installation.configure(purge_interval=1, health_check_enabled=False)
        beats = [installation.beat(name=name).says("Redis does not reply") for name in ("one", "two")]
        assert sent(*beats) == []
        server.start()
        worker = installation.worker()
        until(lambda: purges(database) >= 2, "cycles run")
        for beat in beats:
            beat.says("Redis replies again")

        server.kill()
        before = len(sent(*beats))
        for beat in beats:
            beat.says("Redis does not reply", times=2)
        server.start()
        done = purges(database)
        assert done >= 2  # nothing that was recorded is lost
        until(lambda: len(sent(*beats)) >= before + 2 and purges(database) >= done + 2, "cycles run again")
        assert all(process.running for process in (*beats, worker))
        assert len(sent(*beats)) <= intervals_since(begin, database, "purge", 1)
        database.close()
        server.stop()


def test_nothing_switched_on_is_said_and_sends_nothing(installation: Installation, database: Database) -> None:
    installation.configure(purge_enabled=False, health_check_enabled=False)
    beat = installation.beat().says(
        "[!] [beat] Nothing is scheduled: purge_enabled, health_check_enabled and manage_pools are all off"
    )
    until(lambda: heartbeats.read_fleet(database).beats, "it has looked at the schedule")
    assert sent(beat) == []
    assert waiting(database) == 0


def test_a_stopped_beat_is_forgotten_at_once(installation: Installation, database: Database) -> None:
    beat = installation.beat()
    until(lambda: heartbeats.read_fleet(database).beats, "it is known")
    beat.stop()
    assert heartbeats.read_fleet(database).beats == []
