"""Sightings of another pool manager on the same Redis: VMPooler's own, known by the counters that it changes."""

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import leading_number

SIGHTING_SECONDS = 120
"""How long a sighting is remembered."""

MIN_SIGHTINGS = 2
"""One wrong counter is no proof: a manager that was stopped leaves one behind."""


def correct_counters(db: Database) -> bool:
    """Correct VMPooler's counters of clones. Return True if another manager changed them lately."""
    slots = [key for kind in (keys.POOL_SLOTS, keys.REQUEST_SLOTS) for key in (kind.counter, kind.key)]
    sightings = db.run("pools/correct_counters", [keys.OTHER_MANAGER, *slots], [SIGHTING_SECONDS])
    return int(sightings) >= MIN_SIGHTINGS


def recent_sightings(db: Database) -> int:
    """Return how often another manager was seen lately; 0 if it was a single counter that was left behind."""
    return significant(leading_number(db.call("GET", keys.OTHER_MANAGER)))


def significant(sightings: int) -> int:
    """Return the sightings, or 0 if they are too few to prove another manager."""
    return sightings if sightings >= MIN_SIGHTINGS else 0
