"""The schedule in Redis: the last tick of each entry, and the beat that may send the next one. Nothing is on disk."""

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

CLAIM_SECONDS = 30
"""Time for a beat to send a claimed tick. If it dies in the meantime, another beat sends the tick after that."""

BEAT_ALIVE_SECONDS = 30

CLAIM_SUFFIX = ":claim"
"""Suffix of the field with the claim of an entry's next tick, as the scripts write it."""


def last_ticks(db: Database) -> dict[str, str]:
    """Return entry → epoch of its last tick, as text, which `claim` needs unchanged."""
    with db.translated_errors():
        raw = db.client.hgetall(keys.SCHEDULE.decode())
    return {name.decode(): epoch.decode() for name, epoch in raw.items() if not name.endswith(CLAIM_SUFFIX.encode())}


def claim(db: Database, entry: str, last_tick: str, now: float) -> str | None:
    """Return a claim to confirm, None if another beat was first. `last_tick` is "" for the first tick."""
    until = repr(now + CLAIM_SECONDS)
    return until if db.run("fleet/claim_tick", [keys.SCHEDULE], [entry, last_tick, now, until]) else None


def confirm(db: Database, entry: str, claimed: str, tick: float) -> None:
    """Record that the tick was sent."""
    db.run("fleet/confirm_tick", [keys.SCHEDULE], [entry, claimed, repr(tick)])


def give_back(db: Database, entry: str, claimed: str) -> None:
    """Release the claim of a tick that could not be sent. Any beat may try again at once."""
    db.run("fleet/confirm_tick", [keys.SCHEDULE], [entry, claimed, ""])


def beat_is_alive(db: Database, beat: str, now: float) -> None:
    """Record the heartbeat of this beat, for `live_beats`."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        pipe.zadd(keys.BEATS.decode(), {beat: now})
        pipe.zremrangebyscore(keys.BEATS.decode(), "-inf", now - BEAT_ALIVE_SECONDS)
        pipe.execute()


def beat_stopped(db: Database, beat: str) -> None:
    db.call("ZREM", keys.BEATS, beat)


def live_beats(db: Database, now: float) -> list[str]:
    found = db.call("ZRANGE", keys.BEATS, now - BEAT_ALIVE_SECONDS, "+inf", "BYSCORE")
    return [beat.decode() for beat in found]
