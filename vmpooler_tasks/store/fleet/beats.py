"""Which beats are alive: each records it every few seconds."""

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

BEAT_ALIVE_SECONDS = 30
"""A beat counts as alive for this long after its last record."""


def record_beat(db: Database, beat: str, now: float) -> None:
    """Record that this beat is alive, and remove the records that are too old."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        pipe.zadd(keys.BEATS.decode(), {beat: now})
        pipe.zremrangebyscore(keys.BEATS.decode(), "-inf", now - BEAT_ALIVE_SECONDS)
        pipe.execute()


def forget_beat(db: Database, beat: str) -> None:
    """Remove the record of a beat that has stopped."""
    db.call("ZREM", keys.BEATS, beat)


def live_beats(db: Database, now: float) -> list[str]:
    """Return the names of the live beats. Raises WrongTypeError."""
    found = db.call("ZRANGE", keys.BEATS, now - BEAT_ALIVE_SECONDS, "+inf", "BYSCORE")
    return [beat.decode(errors="replace") for beat in found]
