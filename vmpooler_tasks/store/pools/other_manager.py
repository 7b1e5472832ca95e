"""Whether another pool manager is at work on the same Redis: VMPooler's own, seen by the counters that it changes."""

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import leading_number

REMEMBERED_SECONDS = 120
"""For so long it is remembered that somebody else counted clones."""

LEAST_SIGHTINGS = 2
"""A counter that is wrong once was left behind by a manager that has been stopped."""


def look(db: Database) -> bool:
    """Whether another one was seen lately: VMPooler's counters of clones are not what was written to them here.

    They are put right.
    """
    slots = [key for kind in (keys.POOL_SLOTS, keys.REQUEST_SLOTS) for key in (kind.counter, kind.key)]
    seen = db.run("pools/correct_counters", [keys.OTHER_MANAGER, *slots], [REMEMBERED_SECONDS])
    return int(seen) >= LEAST_SIGHTINGS


def sightings(db: Database) -> int:
    """How often one was seen lately; 0 if it was one counter that was left behind."""
    seen = leading_number(db.call("GET", keys.OTHER_MANAGER))
    return seen if seen >= LEAST_SIGHTINGS else 0
