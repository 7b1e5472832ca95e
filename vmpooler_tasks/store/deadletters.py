"""Dead letters in Redis: one sorted set per queue, scored by the epoch of the failure."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.deadletter import DeadLetter, StoredLetter, read_letter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import audit, keys
from vmpooler_tasks.store.connection import Database

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how many: each letter leaves `ttl_seconds` after its failure, the oldest beyond `max_entries`."""

    ttl_seconds: float
    max_entries: int


@dataclass(frozen=True, slots=True)
class Trimmed:
    """Letters that left to make room (`dropped`) or of age (`expired`)."""

    dropped: int
    expired: int


def push(
    db: Database, queue: DeadLetterQueue, letter: DeadLetter, *, now: float, limits: Limits
) -> tuple[bool, Trimmed]:
    """Whether the letter is new (the same failure reported again is not), and what left. One round trip."""
    new, dropped, expired = db.run(
        "push_dead_letter",
        [keys.dead_letters(queue), keys.DEAD_LETTER_IDS, keys.COUNTERS],
        [queue, now, limits.ttl_seconds, limits.max_entries, f"{queue}:{letter.id}", letter.member()],
    )
    return bool(new), Trimmed(dropped, expired)


def trim(db: Database, queue: DeadLetterQueue, *, now: float, limits: Limits) -> Trimmed:
    """Lets go what is too old or too many, in bounded steps. Raises WrongTypeError."""
    total = Trimmed(0, 0)
    while True:
        dropped, expired = db.run(
            "expire_dead_letters",
            [keys.dead_letters(queue), keys.COUNTERS],
            [queue, now, limits.ttl_seconds, limits.max_entries],
        )
        total = Trimmed(total.dropped + dropped, total.expired + expired)
        if expired < PAGE:
            return total


def size(db: Database, queue: DeadLetterQueue) -> int:
    """Raises WrongTypeError."""
    return int(db.call("ZCARD", keys.dead_letters(queue)))


def newest_first(db: Database, queues: Iterable[DeadLetterQueue]) -> Iterator[StoredLetter]:
    """The letters of these queues as one sequence, read only as far as it is asked for. Raises WrongTypeError."""
    streams = [_newest_first(db, queue) for queue in queues]
    return heapq.merge(*streams, key=lambda letter: (-letter.score, letter.id))


def _newest_first(db: Database, queue: DeadLetterQueue) -> Iterator[StoredLetter]:
    start = 0
    seen: set[int] = set()  # a letter pushed meanwhile shifts the ranks, so that some come twice
    while True:
        with db.translated_errors():
            page = db.client.zrange(keys.dead_letters(queue), start, start + PAGE - 1, desc=True, withscores=True)
        letters = [read_letter(queue, raw, score) for raw, score in page if hash(raw) not in seen]
        seen.update(hash(raw) for raw, _ in page)
        # Within one second the order is by id, as in the merge, so that a page's end names one place.
        yield from sorted(letters, key=lambda letter: (-letter.score, letter.id))
        if len(page) < PAGE:
            return
        start += PAGE


def delete(db: Database, queue: DeadLetterQueue, raws: Sequence[bytes], trail: Mapping[str, Any]) -> int:
    """How many of these were still there and are deleted; recorded in the audit in the same step."""
    words = audit.words(trail)
    return int(
        db.run(
            "delete_dead_letters",
            [keys.dead_letters(queue), keys.COUNTERS, keys.AUDIT],
            [queue, audit.MAX_ENTRIES, len(words), *words, *raws],
        )
    )
