"""Remove the dead letters that are too old or too many."""

from dataclasses import dataclass

from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

TRIM_PAGE = 1000
"""Dead letters of each kind (expired, dropped) that one call removes at most: the server is not held longer."""


@dataclass(frozen=True, slots=True)
class DeadLetterLimits:
    """How long dead letters are kept, in seconds after their failure, and how many of each queue."""

    ttl_seconds: float
    max_entries: int


@dataclass(frozen=True, slots=True)
class Trimmed:
    """Counts of the dead letters that were removed: beyond the maximum (`dropped`), or too old (`expired`)."""

    dropped: int
    expired: int


def limit_words(limits: DeadLetterLimits | None, page: int = TRIM_PAGE) -> list[float]:
    """Return the three arguments that `limits_from` in deadletters/push_many.lua reads.

    None stands for dead letters that are switched off.
    """
    return [0, 0, 0] if limits is None else [limits.ttl_seconds, limits.max_entries, page]


def trim(
    db: Database, queue: DeadLetterQueue, *, now: float, limits: DeadLetterLimits, page: int = TRIM_PAGE
) -> Trimmed:
    """Remove the dead letters of one queue that are too old or too many, at most `page` of each kind per call.

    Raises WrongTypeError if the queue's key is not a sorted set.
    """
    total = Trimmed(0, 0)
    while True:
        dropped, expired = db.run(
            "deadletters/expire",
            [keys.dead_letters(queue), keys.COUNTERS],
            [queue, now, *limit_words(limits, page)],
        )
        total = Trimmed(total.dropped + dropped, total.expired + expired)
        if max(dropped, expired) < page:
            return total
