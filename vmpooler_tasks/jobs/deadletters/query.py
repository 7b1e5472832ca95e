"""Search dead letters and group them by error. docs/operator-guide.md: Dead letters pile up."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf, isnan
from typing import Any

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.deadletters.attempts import all_attempts, count_unknown
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, kind_of
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.deadletters.prefilter import prefilter
from vmpooler_tasks.model.names import DeadLetterQueue, readable
from vmpooler_tasks.model.redrive import redrives
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.deadletters import read

OnRead = Callable[[int], None]
"""Receives how many dead letters were read since its last call."""


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """One page of dead letters. `next_cursor` selects the following page; None on the last page."""

    entries: Sequence[StoredDeadLetter]
    next_cursor: str | None


@dataclass(slots=True)
class DeadLetterGroup:
    """Dead letters whose errors differ only in numbers and names. Times are seconds since the epoch."""

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


def find(
    db: Database, wanted: DeadLetterFilter, until: float = inf, *, on_read: OnRead | None = None
) -> Iterator[StoredDeadLetter]:
    """Yield the dead letters that the filter accepts up to that epoch, newest first.

    `on_read` receives the count of dead letters that are read with each page, whether the filter accepts them or not.
    """
    latest = until if wanted.until is None else min(until, wanted.until)
    earliest = -inf if wanted.since is None else wanted.since
    found = read.newest_first(db, wanted.queues, latest, since=earliest, may_match=prefilter(wanted), on_read=on_read)
    return filter(wanted.accepts, found)


def find_oldest(db: Database, wanted: DeadLetterFilter, *, on_read: OnRead | None = None) -> Iterator[StoredDeadLetter]:
    """Yield the dead letters that the filter accepts, oldest first. `on_read` is as in `find`."""
    since = -inf if wanted.since is None else wanted.since
    until = inf if wanted.until is None else wanted.until
    found = read.oldest_first(db, wanted.queues, since=since, until=until, may_match=prefilter(wanted), on_read=on_read)
    return filter(wanted.accepts, found)


def detail(entry: StoredDeadLetter) -> dict[str, Any]:
    """Return all of a dead letter. `attempts` are all attempts in order of time, its own failure last.

    `attempts_unknown` counts those before them, which are not kept.
    """
    unknown = count_unknown(entry.fields, redrives(entry.fields))
    return {**entry.as_json(), "attempts": all_attempts(entry.fields), "attempts_unknown": unknown}


def find_after(
    db: Database, wanted: DeadLetterFilter, after: str | None, *, on_read: OnRead | None = None
) -> Iterator[StoredDeadLetter]:
    """Yield the dead letters that the filter accepts behind the cursor, newest first; from the first one without it.

    A cursor stays valid while dead letters are added and removed. Raises ValueError for a text that is not a cursor.
    """
    if after is None:
        return find(db, wanted, on_read=on_read)
    text, _, rest = after.partition(":")
    score = float(text)
    if isnan(score):  # infinity is a score that a dead letter can have
        raise ValueError("no dead letter has such a time")
    digest, separator, dead_letter_id = rest.partition(":")
    if not separator:
        raise ValueError("the cursor has no digest")
    last = (-score, (dead_letter_id, digest))
    return (entry for entry in find(db, wanted, score, on_read=on_read) if read.newest_place(entry) > last)


def cursor_of(entry: StoredDeadLetter) -> str:
    """Return the cursor that selects what follows this dead letter."""
    dead_letter_id, digest = entry.tie_break
    return f"{entry.score:.17g}:{digest}:{dead_letter_id}"


def read_page(db: Database, wanted: DeadLetterFilter, limit: int, after: str | None = None) -> DeadLetterPage:
    """Return up to `limit` dead letters behind the cursor `after`. Raises ValueError for a text that is no cursor."""
    entries = list(islice(find_after(db, wanted, after), limit + 1))
    has_more = len(entries) > limit
    page = entries[:limit]
    return DeadLetterPage(page, cursor_of(page[-1]) if has_more and page else None)


def without_unreadable(db: Database, wanted: DeadLetterFilter) -> tuple[DeadLetterFilter, list[str]]:
    """Return (the filter without the queues whose keys are not sorted sets, the names of these keys).

    Raises WrongTypeError if no queue is left.
    """
    unreadable = [queue for queue in wanted.queues if read.readable_size(db, queue) is None]
    left = tuple(queue for queue in wanted.queues if queue not in unreadable)
    names = [readable(keys.dead_letters(queue)) for queue in unreadable]
    if not left:
        raise WrongTypeError(f"{', '.join(names)}: not a sorted set")
    return replace(wanted, queues=left), names


def count(db: Database, wanted: DeadLetterFilter) -> int:
    """Return how many dead letters a search has to read: those of the filter's queues and times.

    Raises WrongTypeError.
    """
    since = -inf if wanted.since is None else wanted.since
    until = inf if wanted.until is None else wanted.until
    return sum(read.count(db, queue, since, until) for queue in wanted.queues)


def sizes(db: Database) -> dict[str, int]:
    """Return the count of dead letters by queue, without the queues whose keys are not sorted sets."""
    counted = {str(queue): read.readable_size(db, queue) for queue in DeadLetterQueue}
    return {queue: size for queue, size in counted.items() if size is not None}


def group_by_error(db: Database, wanted: DeadLetterFilter) -> list[DeadLetterGroup]:
    """Return the groups of dead letters that share an error, the most frequent first."""
    return group(find(db, wanted))


def group(dead_letters: Iterable[StoredDeadLetter]) -> list[DeadLetterGroup]:
    """Return the groups of these dead letters that share an error, the most frequent first.

    The dead letters come newest first.
    """
    groups: dict[tuple[str, str], DeadLetterGroup] = {}
    for entry in dead_letters:
        kind = kind_of(entry)
        found = groups.get(kind)
        if found is None:
            found = groups[kind] = DeadLetterGroup(*kind, newest=entry.score, example_id=entry.id)
        found.count += 1
        found.oldest = entry.score
        found.queues.add(str(entry.queue))
        if pool := entry.text("pool"):
            found.pools.add(pool)
    return sorted(groups.values(), key=lambda one: (-one.count, one.error_class, one.message))
