"""Turns: of all processes one acts at a time."""

import pytest

from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.redis.locks import take_turn

pytestmark = pytest.mark.both_servers

TURN = keys.NOTIFY_WATCH


def test_one_of_all_callers_has_a_turn_until_it_is_over(db: Database) -> None:
    assert take_turn(db, TURN, 60)
    assert not take_turn(db, TURN, 60)
    assert 0 < db.call("PTTL", TURN) <= 60_000
    db.call("DEL", TURN)
    assert take_turn(db, TURN, 60)


def test_a_key_that_somebody_left_ends_no_turns(db: Database) -> None:
    db.call("HSET", TURN, "of", "another type")
    assert take_turn(db, TURN, 60)
    assert not take_turn(db, TURN, 60)


def test_a_full_server_gives_turns(db: Database) -> None:
    db.client.config_set("maxmemory", 1)
    try:
        assert take_turn(db, TURN, 60)
        assert not take_turn(db, TURN, 60)
    finally:
        db.client.config_set("maxmemory", 0)
