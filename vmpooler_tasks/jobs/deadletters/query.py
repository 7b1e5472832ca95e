"""Looking through dead letters, and deleting them. The guide's sections: Querying DLQ, Scenarios 1 and 3."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf, isnan
from typing import Any

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, kind_of
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue, readable
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.deadletters import queue as deadletters
from vmpooler_tasks.store.redis.chunks import chunks


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """`next_cursor` asks for the following page; None if this is the last."""

    letters: Sequence[StoredDeadLetter]
    next_cursor: str | None


@dataclass(slots=True)
class ErrorGroup:
    """Dead letters with the same error but for numbers and names; times in seconds since the epoch."""

    error_class: str
    message: str
    count: int = 0
    oldest: float = 0.0
    newest: float = 0.0
    queues: set[str] = field(default_factory=set)
    pools: set[str] = field(default_factory=set)
    example_id: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "error": f"{self.error_class}: {self.message}",
            "error_class": self.error_class,
            "message": self.message,
            "count": self.count,
            "oldest": self.oldest,
            "newest": self.newest,
            "queues": sorted(self.queues),
            "pools": sorted(self.pools),
            "example_id": self.example_id,
        }


def find(db: Database, wanted: DeadLetterFilter, until: float = inf) -> Iterator[StoredDeadLetter]:
    """The letters meant, newest first, of those up to that epoch."""
    latest = until if wanted.until is None else min(until, wanted.until)
    return filter(wanted.accepts, deadletters.newest_first(db, wanted.queues, latest))


def page(db: Database, wanted: DeadLetterFilter, limit: int, after: str | None = None) -> DeadLetterPage:
    """`limit` letters behind the cursor. A cursor stays good while letters come and go. Raises ValueError for none."""
    if after is None:
        found = find(db, wanted)
    else:
        text, _, dead_letter_id = after.partition(":")
        score = float(text)
        if isnan(score):  # infinity is a score that a letter can have
            raise ValueError("no letter has such a time")
        found = (letter for letter in find(db, wanted, score) if (-letter.score, letter.id) > (-score, dead_letter_id))
    letters = list(islice(found, limit + 1))
    more = len(letters) > limit
    shown = letters[:limit]
    return DeadLetterPage(shown, f"{shown[-1].score:.17g}:{shown[-1].id}" if more and shown else None)


def without_unreadable(db: Database, wanted: DeadLetterFilter) -> tuple[DeadLetterFilter, list[str]]:
    """(the filter without the queues whose keys are no queues, the names of these keys).

    Raises WrongTypeError if no queue is left.
    """
    bad = [queue for queue in wanted.queues if deadletters.readable_size(db, queue) is None]
    left = tuple(queue for queue in wanted.queues if queue not in bad)
    names = [readable(keys.dead_letters(queue)) for queue in bad]
    if not left:
        raise WrongTypeError(f"{', '.join(names)}: not a sorted set")
    return replace(wanted, queues=left), names


def sizes(db: Database) -> dict[str, int]:
    """Letters in each queue, of those that are queues."""
    counted = {str(queue): deadletters.readable_size(db, queue) for queue in DeadLetterQueue}
    return {queue: size for queue, size in counted.items() if size is not None}


def stats(db: Database, wanted: DeadLetterFilter) -> list[ErrorGroup]:
    """The errors, most frequent first."""
    groups: dict[tuple[str, str], ErrorGroup] = {}
    for letter in find(db, wanted):
        key = kind_of(letter)
        group = groups.get(key)
        if group is None:
            group = groups[key] = ErrorGroup(*key, newest=letter.score, example_id=letter.id)
        group.count += 1
        group.oldest = letter.score
        group.queues.add(str(letter.queue))
        if pool := letter.text("pool"):
            group.pools.add(pool)
    return sorted(groups.values(), key=lambda group: (-group.count, group.error_class, group.message))


def delete(db: Database, letters: Sequence[StoredDeadLetter], *, who: str, why: str | None) -> int:
    """How many of these were still there and are deleted; each batch leaves one line in the audit."""
    deleted = 0
    for queue in DeadLetterQueue:
        raws = [letter.raw for letter in letters if letter.queue is queue]
        trail: Mapping[str, Any] = {"action": "delete", "who": who, "why": why, "queue": queue}
        for page in chunks(raws):
            deleted += deadletters.delete(db, queue, page, trail)
    return deleted
