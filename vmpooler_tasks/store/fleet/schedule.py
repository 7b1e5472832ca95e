"""When each entry of the schedule last ticked, and who may send the next: kept in Redis, not on a disk."""

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

CLAIM_SECONDS = 30
"""How long a beat has to send what it claimed; if it dies meanwhile, another sends it then."""

BEAT_ALIVE_SECONDS = 30

CLAIM_SUFFIX = ":claim"
"""Of the field that says who may send an entry's next tick, as the scripts write it."""


def last_ticks(db: Database) -> dict[str, str]:
    """Entry → epoch of its last tick, as text: it is handed back unchanged to `claim`."""
    with db.translated_errors():
        raw = db.client.hgetall(keys.SCHEDULE.decode())
    return {name.decode(): epoch.decode() for name, epoch in raw.items() if not name.endswith(CLAIM_SUFFIX.encode())}


def claim(db: Database, entry: str, last_tick: str, now: float) -> str | None:
    """The claim to be confirmed, or None if another beat was first. `last_tick` is "" for an entry's first."""
    until = repr(now + CLAIM_SECONDS)
    return until if db.run("fleet/claim_tick", [keys.SCHEDULE], [entry, last_tick, now, until]) else None


def confirm(db: Database, entry: str, claimed: str, tick: float) -> None:
    """The tick was sent."""
    db.run("fleet/confirm_tick", [keys.SCHEDULE], [entry, claimed, repr(tick)])


def give_back(db: Database, entry: str, claimed: str) -> None:
    """The tick could not be sent; any beat may try again at once."""
    db.run("fleet/confirm_tick", [keys.SCHEDULE], [entry, claimed, ""])


def beat_is_alive(db: Database, beat: str, now: float) -> None:
    """Tells `live_beats` that this beat runs."""
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
