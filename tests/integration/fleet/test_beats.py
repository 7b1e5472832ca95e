"""Which beats are alive: each records it, and a record that is too old does not count."""

import pytest

from tests.support.world import NOW
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import beats
from vmpooler_tasks.store.fleet.beats import BEAT_ALIVE_SECONDS


@pytest.mark.parametrize("age", [0, BEAT_ALIVE_SECONDS])
def test_a_beat_with_a_recent_record_is_alive(db: Database, age: int) -> None:
    beats.record_beat(db, "host:1", NOW)
    assert beats.live_beats(db, NOW + age) == ["host:1"]


def test_a_silent_or_stopped_beat_is_not_alive(db: Database) -> None:
    beats.record_beat(db, "host:1", NOW)
    beats.record_beat(db, "host:2", NOW + 1)
    assert beats.live_beats(db, NOW + BEAT_ALIVE_SECONDS + 1) == ["host:2"]
    beats.forget_beat(db, "host:2")
    assert beats.live_beats(db, NOW + 1) == ["host:1"]
    beats.record_beat(db, "host:3", NOW + 100)
    assert db.client.zrange(keys.BEATS.decode(), 0, -1) == [b"host:3"], "the silent ones are forgotten"
