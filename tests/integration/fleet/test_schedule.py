"""Each tick is claimed in Redis: one of any number of beats sends it, and a dead beat delays it for seconds only."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.servers import TestServer
from vmpooler_tasks.store import Database, fleet_keys
from vmpooler_tasks.store.fleet import schedule
from vmpooler_tasks.store.fleet.schedule import CLAIM_SECONDS

pytestmark = pytest.mark.both_servers

NOW = 1_705_314_600.25


def last(db: Database, entry: str = "purge") -> str:
    return schedule.read_last_ticks(db).get(entry, "")


def claimed(db: Database, now: float = NOW, last_tick: str | None = None, entry: str = "purge") -> str:
    """A claim that has to be got."""
    claim = schedule.claim_tick(db, entry, last(db, entry) if last_tick is None else last_tick, now)
    assert claim is not None
    return claim


def test_nothing_has_ticked_in_an_empty_database(db: Database) -> None:
    assert schedule.read_last_ticks(db) == {}


def test_a_confirmed_tick_is_recorded_to_the_fraction(db: Database) -> None:
    schedule.confirm_tick(db, "purge", claimed(db), NOW)
    assert float(last(db)) == NOW
    assert schedule.read_last_ticks(db) == {"purge": repr(NOW)}, "the claim is gone and is no tick"


def test_one_of_two_beats_claims_the_tick(db: Database) -> None:
    claimed(db)
    assert schedule.claim_tick(db, "purge", "", NOW) is None
    assert schedule.claim_tick(db, "purge", "", NOW + CLAIM_SECONDS - 1) is None
    assert last(db) == "", "it has not ticked before it was sent"


def test_a_beat_that_read_before_the_other_sent_does_not_send_again(db: Database) -> None:
    seen = last(db)
    schedule.confirm_tick(db, "purge", claimed(db), NOW)
    assert schedule.claim_tick(db, "purge", seen, NOW + 1) is None
    assert schedule.claim_tick(db, "purge", seen, NOW + 1000) is None
    assert schedule.claim_tick(db, "purge", last(db), NOW + 1) is not None, "who knows of the tick may claim the next"


def test_a_tick_that_could_not_be_sent_is_free_again_at_once(db: Database) -> None:
    schedule.release_tick(db, "purge", claimed(db))
    assert last(db) == ""
    claimed(db)


def test_the_claim_of_a_dead_beat_expires(db: Database) -> None:
    claimed(db)
    assert schedule.claim_tick(db, "purge", "", NOW + CLAIM_SECONDS - 0.001) is None
    claimed(db, NOW + CLAIM_SECONDS)


def test_an_expired_claim_that_another_beat_took_changes_nothing(db: Database) -> None:
    late = claimed(db)
    other = claimed(db, NOW + CLAIM_SECONDS)
    schedule.confirm_tick(db, "purge", late, NOW)
    assert last(db) == ""
    schedule.release_tick(db, "purge", late)
    assert schedule.claim_tick(db, "purge", "", NOW + CLAIM_SECONDS + 1) is None, "the other one's claim still stands"
    schedule.confirm_tick(db, "purge", other, NOW + CLAIM_SECONDS + 2)
    assert float(last(db)) == NOW + CLAIM_SECONDS + 2
    schedule.confirm_tick(db, "purge", late, NOW)
    assert float(last(db)) == NOW + CLAIM_SECONDS + 2


def test_an_expired_claim_that_no_other_beat_took_is_confirmed(db: Database) -> None:
    claim = claimed(db)
    schedule.confirm_tick(db, "purge", claim, NOW + 2 * CLAIM_SECONDS)
    assert float(last(db)) == NOW + 2 * CLAIM_SECONDS


def test_confirming_twice_is_harmless(db: Database) -> None:
    claim = claimed(db)
    schedule.confirm_tick(db, "purge", claim, NOW)
    schedule.confirm_tick(db, "purge", claim, NOW + 5)
    assert float(last(db)) == NOW


def test_entries_are_claimed_each_by_itself(db: Database) -> None:
    schedule.confirm_tick(db, "purge", claimed(db), NOW)
    schedule.confirm_tick(db, "health", claimed(db, NOW + 1, entry="health"), NOW + 1)
    assert schedule.read_last_ticks(db) == {"purge": repr(NOW), "health": repr(NOW + 1)}


def test_exactly_one_of_many_beats_claims_each_tick(server: TestServer, db: Database) -> None:
    beats = [Database(server.url) for _ in range(8)]
    with ThreadPoolExecutor(len(beats)) as threads:
        for tick in range(50):
            now, seen = NOW + 60 * tick, last(db)

            def claim(beat: Database, seen: str = seen, now: float = now) -> str | None:
                return schedule.claim_tick(beat, "purge", seen, now)

            [won] = [found for found in threads.map(claim, beats) if found]
            schedule.confirm_tick(db, "purge", won, now)
    assert float(last(db)) == NOW + 60 * 49
    for beat in beats:
        beat.close()


def test_a_claim_that_was_made_while_the_clock_was_ahead_holds_up_no_tick(db: Database) -> None:
    claimed(db, NOW + 3600)
    claim = claimed(db)
    assert schedule.claim_tick(db, "purge", "", NOW) is None, "this one holds"
    schedule.confirm_tick(db, "purge", claim, NOW)
    assert float(last(db)) == NOW


@pytest.mark.parametrize("claim", ["", "soon", "1e999", "nan"])
def test_a_claim_that_is_no_time_holds_up_no_tick(db: Database, claim: str) -> None:
    db.call("HSET", fleet_keys.SCHEDULE, f"purge{schedule.CLAIM_SUFFIX}", claim)
    claimed(db)
