"""Looking through dead letters, and deleting them. The guide's sections: Querying DLQ, Scenarios 1 and 3."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Any

from vmpooler_tasks.model.deadletter import StoredLetter, normalised
from vmpooler_tasks.model.letterfilter import LetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, deadletters

DELETE_BATCH = 500


@dataclass(frozen=True, slots=True)
class LetterPage:
    """`next_cursor` asks for the following page; None if this is the last."""

    letters: Sequence[StoredLetter]
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
            "error_class": self.error_class,
            "message": self.message,
            "count": self.count,
            "oldest": self.oldest,
            "newest": self.newest,
            "queues": sorted(self.queues),
            "pools": sorted(self.pools),
            "example_id": self.example_id,
        }


def find(db: Database, wanted: LetterFilter, until: float = inf) -> Iterator[StoredLetter]:
    """The letters meant, newest first, of those up to that epoch."""
    latest = until if wanted.until is None else min(until, wanted.until)
    return filter(wanted.accepts, deadletters.newest_first(db, wanted.queues, latest))


def page(db: Database, wanted: LetterFilter, limit: int, after: str | None = None) -> LetterPage:
    """`limit` letters behind the cursor. A cursor stays good while letters come and go. Raises ValueError for none."""
    if after is None:
        found = find(db, wanted)
    else:
        score, _, letter_id = after.partition(":")
        place = (-float(score), letter_id)
        found = (letter for letter in find(db, wanted, float(score)) if (-letter.score, letter.id) > place)
    letters = list(islice(found, limit + 1))
    more = len(letters) > limit
    shown = letters[:limit]
    return LetterPage(shown, f"{shown[-1].score:.17g}:{shown[-1].id}" if more and shown else None)


def sizes(db: Database) -> dict[str, int]:
    """Letters in each queue."""
    return {str(queue): deadletters.size(db, queue) for queue in DeadLetterQueue}


def stats(db: Database, wanted: LetterFilter) -> list[ErrorGroup]:
    """The errors, most frequent first."""
    groups: dict[tuple[str, str], ErrorGroup] = {}
    for letter in find(db, wanted):
        key = (letter.text("error_class"), normalised(letter.text("error_message")))
        group = groups.get(key)
        if group is None:
            group = groups[key] = ErrorGroup(*key, newest=letter.score, example_id=letter.id)
        group.count += 1
        group.oldest = letter.score
        group.queues.add(str(letter.queue))
        if pool := letter.text("pool"):
            group.pools.add(pool)
    return sorted(groups.values(), key=lambda group: (-group.count, group.error_class, group.message))


def delete(db: Database, letters: Sequence[StoredLetter], *, who: str, why: str | None) -> int:
    """How many of these were still there and are deleted; each batch leaves one line in the audit."""
    deleted = 0
    for queue in DeadLetterQueue:
        raws = [letter.raw for letter in letters if letter.queue is queue]
        trail: Mapping[str, Any] = {"action": "delete", "who": who, "why": why, "queue": queue}
        for start in range(0, len(raws), DELETE_BATCH):
            deleted += deadletters.delete(db, queue, raws[start : start + DELETE_BATCH], trail)
    return deleted
