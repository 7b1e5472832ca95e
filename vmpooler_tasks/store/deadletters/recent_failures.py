"""How many VMs of each pool failed lately, counted on the server in one bounded step."""

import json
from dataclasses import dataclass

from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

MAX_READ = 500
"""Dead letters of each queue that one call reads: one to two milliseconds of the server's time."""

MAX_ESCAPE = len(r"\u0000")


@dataclass(frozen=True, slots=True)
class PoolFailures:
    """The recent dead letters of one pool: how many there are, and the newest error message."""

    count: int
    last_message: str


def count_by_pool(db: Database, *, since: float, now: float) -> dict[str, PoolFailures]:
    """Return the dead letters of each pool since that epoch, in one round trip.

    The count is exact up to `MAX_READ` dead letters in each queue. A queue with more counts what this project wrote, in
    steps of five minutes, deleted dead letters included, and of VMPooler's own dead letters the newest.
    """
    found = db.run(
        "deadletters/recent_failures",
        [keys.COUNTERS, *map(keys.dead_letters, DeadLetterQueue)],
        [repr(since), repr(now), MAX_READ],
    )
    triples = zip(found[::3], found[1::3], found[2::3], strict=True)
    return {_unescaped(pool): PoolFailures(count, _unescaped(message)) for pool, count, message in triples}


def _unescaped(raw: bytes) -> str:
    """Return the text of a JSON string without its quotes; the index may have cut it within an escape."""
    text = raw.decode("utf-8", "replace")
    for end in range(len(text), max(len(text) - MAX_ESCAPE, -1), -1):
        try:
            return str(json.loads(f'"{text[:end]}"', strict=False))
        except ValueError:
            continue
    return text
