"""Remove the dead letters that are too old or too many."""

from dataclasses import dataclass
from typing import Self

from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

TRIM_PAGE = 1000
"""Dead letters of each kind (expired, dropped) that one call removes at most: the server is not held longer."""

MAX_BYTES_OF_QUEUE = 64 * 2**20
"""The default of `dlq_max_bytes`."""


@dataclass(frozen=True, slots=True)
class DeadLetterLimits:
    """How long dead letters are kept, in seconds after their failure, how many of each queue, and how many bytes."""

    ttl_seconds: float
    max_entries: int
    max_bytes: int = MAX_BYTES_OF_QUEUE


@dataclass(frozen=True, slots=True)
class Trimmed:
    """Counts of the dead letters that were removed: beyond a maximum (`dropped`), or too old (`expired`).

    `is_for_bytes`: the maximum of bytes was the reason.
    """

    dropped: int
    expired: int
    is_for_bytes: bool = False

    @classmethod
    def read(cls, dropped: int, expired: int) -> Self:
        """Return what a script reported: `dropped` is below zero if the maximum of bytes was the reason."""
        return cls(abs(dropped), expired, dropped < 0)

    def __add__(self, other: Self) -> Self:
        """Return the sums of both."""
        is_for_bytes = self.is_for_bytes or other.is_for_bytes
        return type(self)(self.dropped + other.dropped, self.expired + other.expired, is_for_bytes)


def limit_words(limits: DeadLetterLimits | None, page: int = TRIM_PAGE) -> list[float]:
    """Return the four arguments that `limits_from` in deadletters/push_many.lua reads.

    None stands for dead letters that are switched off.
    """
    return [0] * 4 if limits is None else [limits.ttl_seconds, limits.max_entries, limits.max_bytes, page]


def trim(
    db: Database, queue: DeadLetterQueue, *, now: float, limits: DeadLetterLimits, page: int = TRIM_PAGE
) -> Trimmed:
    """Remove the dead letters of one queue that are too old or too many, at most `page` of each kind per call.

    Raises WrongTypeError if the queue's key is not a sorted set.
    """
    total, arguments = Trimmed(0, 0), [queue, now, *limit_words(limits, page)]
    while True:
        removed = Trimmed.read(*db.run("deadletters/expire", [keys.dead_letters(queue), keys.COUNTERS], arguments))
        if not removed.dropped and not removed.expired:
            return total
        total += removed


def count_bytes(db: Database, queue: DeadLetterQueue, max_bytes: int) -> None:
    """Count the bytes of a queue, if others have changed it since they were counted. Stop at the maximum.

    Raises WrongTypeError if the queue's key is not a sorted set.
    """
    db.run("deadletters/count_bytes", [keys.dead_letters(queue), keys.COUNTERS], [queue, max_bytes])
