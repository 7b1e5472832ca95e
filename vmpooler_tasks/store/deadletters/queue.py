"""Dead letters in Redis: one sorted set per queue, scored by the epoch of the failure."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.deadletters.entry import DeadLetter, StoredDeadLetter, read_dead_letter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis.connection import Database

PAGE = 1000

CLASSES_PAGE = 250
"""Letters whose class one call looks at: one to two milliseconds of the server's time, since each is some kilobytes."""


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
        "deadletters/push",
        [keys.dead_letters(queue), keys.DEAD_LETTER_IDS, keys.COUNTERS],
        [queue, now, limits.ttl_seconds, limits.max_entries, f"{queue}:{letter.id}", letter.member()],
    )
    return bool(new), Trimmed(dropped, expired)


def trim(db: Database, queue: DeadLetterQueue, *, now: float, limits: Limits) -> Trimmed:
    """Lets go what is too old or too many, in bounded steps. Raises WrongTypeError."""
    total = Trimmed(0, 0)
    while True:
        dropped, expired = db.run(
            "deadletters/expire",
            [keys.dead_letters(queue), keys.COUNTERS],
            [queue, now, limits.ttl_seconds, limits.max_entries],
        )
        total = Trimmed(total.dropped + dropped, total.expired + expired)
        if max(dropped, expired) < PAGE:
            return total


def size(db: Database, queue: DeadLetterQueue) -> int:
    """Raises WrongTypeError."""
    return int(db.call("ZCARD", keys.dead_letters(queue)))


def readable_size(db: Database, queue: DeadLetterQueue) -> int | None:
    """None if its key is of another type."""
    try:
        return size(db, queue)
    except WrongTypeError:
        return None


def revision(db: Database) -> str:
    """Changes whenever letters come or go; in one round trip. A queue that is none counts as empty."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for queue in DeadLetterQueue:
            key = keys.dead_letters(queue)
            pipe.zcard(key)
            pipe.zrange(key, 0, 0)
            pipe.zrange(key, -1, -1)
        pipe.hgetall(keys.COUNTERS)
        replies = pipe.execute(raise_on_error=False)
    *seen, counters = replies
    counted = sorted(counters.items()) if isinstance(counters, dict) else []
    letters = [item for item in counted if item[0].startswith(b"dead_letters")]
    return hashlib.sha256(repr((seen, letters)).encode()).hexdigest()[:16]


def count_classes(db: Database, queue: DeadLetterQueue) -> Counter[str]:
    """How many letters there are of each class of error; the server looks at them page by page, none is sent.

    Raises WrongTypeError.
    """
    counts, begin = Counter[str](), 0
    while True:
        looked_at, *pairs = db.run(
            "deadletters/count_classes", [keys.dead_letters(queue)], [begin, begin + CLASSES_PAGE - 1]
        )
        for name, count in zip(pairs[::2], pairs[1::2], strict=True):
            counts[name.decode()] += count
        begin += CLASSES_PAGE
        if looked_at < CLASSES_PAGE:
            return counts


def newest_first(
    db: Database, queues: Iterable[DeadLetterQueue], until: float = float("inf")
) -> Iterator[StoredDeadLetter]:
    """The letters of these queues up to that epoch as one sequence, read only as far as it is asked for.

    Raises WrongTypeError.
    """
    streams = [_newest_first(db, queue, until) for queue in queues]
    return heapq.merge(*streams, key=lambda letter: (-letter.score, letter.id))


def _newest_first(db: Database, queue: DeadLetterQueue, begin: float) -> Iterator[StoredDeadLetter]:
    skip = 0  # within one second; elsewhere by score and not by rank, which a letter deleted meanwhile shifts
    held: list[StoredDeadLetter] = []
    seen: set[int] = set()  # a letter pushed meanwhile within the same second makes some come twice
    while True:
        with db.translated_errors(keys.dead_letters(queue)):
            page = db.client.zrange(
                keys.dead_letters(queue), begin, "-inf", desc=True, byscore=True, withscores=True, offset=skip, num=PAGE
            )
        held += [read_dead_letter(queue, raw, score) for raw, score in page if hash(raw) not in seen]
        seen.update(hash(raw) for raw, _ in page)
        if len(page) < PAGE:
            yield from _in_order(held)
            return
        last = page[-1][1]
        skip = sum(score == last for _, score in page) + (skip if last == begin else 0)
        begin = last
        # The last second may go on in the next page, and within one second the order is by id.
        yield from _in_order([letter for letter in held if letter.score > last])
        held = [letter for letter in held if letter.score <= last]


def _in_order(letters: list[StoredDeadLetter]) -> list[StoredDeadLetter]:
    """Newest first, and within one second by id, so that a page's end names one place."""
    return sorted(letters, key=lambda letter: (-letter.score, letter.id))


def delete(db: Database, queue: DeadLetterQueue, raws: Sequence[bytes], trail: Mapping[str, Any]) -> int:
    """How many of these were still there and are deleted; recorded in the audit in the same step."""
    words = audit.words(trail)
    return int(
        db.run(
            "deadletters/delete",
            [keys.dead_letters(queue), keys.COUNTERS, keys.AUDIT],
            [queue, audit.MAX_ENTRIES, len(words), *words, *raws],
        )
    )
