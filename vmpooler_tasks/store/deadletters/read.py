"""Read and count dead letters. Nothing here changes them."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from math import inf

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, read_dead_letter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

READ_PAGE = 1000
"""Dead letters that one round trip reads at most."""

PAGE_BYTES = 1_000_000
"""Bytes of dead letters that one round trip reads at most, unless a single one has more."""

HELD_BYTES = 8_000_000
"""Bytes of dead letters of one queue and one time that a search holds at most, unless a single one has more."""

CLASSES_PAGE = 250
"""Dead letters whose class one call reads: one to two milliseconds of the server's time, at some kilobytes each."""

Place = tuple[float, tuple[str, str]]
"""The place of a dead letter in an order by time. No two have the same place."""

Order = Callable[[StoredDeadLetter], Place]
"""Returns the place of a dead letter."""


def size(db: Database, queue: DeadLetterQueue) -> int:
    """Return how many dead letters the queue holds. Raises WrongTypeError."""
    return int(db.call("ZCARD", keys.dead_letters(queue)))


def count(db: Database, queue: DeadLetterQueue, since: float, until: float) -> int:
    """Return how many dead letters the queue holds between two epochs. Raises WrongTypeError."""
    return int(db.call("ZCOUNT", keys.dead_letters(queue), since, until))


def readable_size(db: Database, queue: DeadLetterQueue) -> int | None:
    """Return how many dead letters the queue holds; None if its key is not a sorted set."""
    try:
        return size(db, queue)
    except WrongTypeError:
        return None


def revision(db: Database) -> str:
    """Return a text that changes whenever dead letters are added or removed. It takes one round trip.

    A queue whose key is of another type counts as empty.
    """
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
    dead_letters = [item for item in counted if item[0].startswith(b"dead_letters")]
    return hashlib.sha256(repr((seen, dead_letters)).encode()).hexdigest()[:16]


def count_classes(db: Database, queue: DeadLetterQueue) -> Counter[str]:
    """Return how many dead letters there are of each class of error.

    The server reads them page by page and sends only the counts. Raises WrongTypeError.
    """
    counts, start = Counter[str](), 0
    while True:
        page_size, *pairs = db.run(
            "deadletters/count_classes", [keys.dead_letters(queue)], [start, start + CLASSES_PAGE - 1]
        )
        for name, count in zip(pairs[::2], pairs[1::2], strict=True):
            counts[name.decode()] += count
        start += CLASSES_PAGE
        if page_size < CLASSES_PAGE:
            return counts


def newest_first(
    db: Database,
    queues: Iterable[DeadLetterQueue],
    until: float = inf,
    *,
    since: float = -inf,
    may_match: Callable[[bytes], bool] | None = None,
    on_read: Callable[[int], None] | None = None,
) -> Iterator[StoredDeadLetter]:
    """Yield the dead letters of these queues between two epochs as one sequence. Pages are read as they are needed.

    Members for which `may_match` returns False are left out. `on_read` receives the size of each page. Raises
    WrongTypeError.
    """
    streams = [_in_order(db, queue, until, since, may_match or _any, on_read, newest_place) for queue in queues]
    return heapq.merge(*streams, key=newest_place)


def oldest_first(
    db: Database,
    queues: Iterable[DeadLetterQueue],
    *,
    since: float = -inf,
    until: float = inf,
    may_match: Callable[[bytes], bool] | None = None,
    on_read: Callable[[int], None] | None = None,
) -> Iterator[StoredDeadLetter]:
    """Yield the dead letters of these queues between two epochs, oldest first. Its arguments: see `newest_first`."""
    streams = [_in_order(db, queue, since, until, may_match or _any, on_read, _oldest) for queue in queues]
    return heapq.merge(*streams, key=_oldest)


def newest_ids(db: Database, max_of_queue: int) -> list[str]:
    """Return the ids of the newest dead letters of each queue, fewer if these are large."""
    ids: list[str] = []
    for queue in DeadLetterQueue:
        with suppress(WrongTypeError):
            page, _ = _read_page(db, queue, inf, -inf, 0, max_of_queue, newest_first=True)
            ids += [read_dead_letter(queue, raw, score).id for raw, score in page]
    return ids


def _any(raw: bytes) -> bool:
    del raw
    return True


class _OneTime:
    """The first dead letters of one score, in their order, and no more than HELD_BYTES of them.

    Redis has those of one score in another order: all of them are read before the first is known. `after` is the place
    of the last one that was yielded before.
    """

    def __init__(self, score: float, order: Order, after: Place | None = None) -> None:
        self.score, self.order, self._after = score, order, after
        self._held: list[StoredDeadLetter] = []
        self._bytes = 0
        self.left_out_from: Place | None = None
        """The place of the first one that was not held. None if all are held."""

    def add(self, entry: StoredDeadLetter) -> None:
        key = self.order(entry)
        is_early = self._after is not None and key <= self._after
        if is_early or (self.left_out_from is not None and key >= self.left_out_from):
            return
        self._held.append(entry)
        self._bytes += len(entry.raw)
        if self._bytes > HELD_BYTES:
            self._held.sort(key=self.order)
            while 4 * self._bytes > 3 * HELD_BYTES and len(self._held) > 1:
                last = self._held.pop()
                self._bytes -= len(last.raw)
                self.left_out_from = self.order(last)

    def in_order(self) -> list[StoredDeadLetter]:
        return sorted(self._held, key=self.order)


def _in_order(
    db: Database,
    queue: DeadLetterQueue,
    first: float,
    end: float,
    may_match: Callable[[bytes], bool],
    on_read: Callable[[int], None] | None,
    order: Order,
) -> Iterator[StoredDeadLetter]:
    held: _OneTime | None = None
    for raw, score in _members(db, queue, first, end, on_read, newest_first=order is newest_place):
        if held is not None and score != held.score:
            yield from _all_of(db, queue, held, may_match)
            held = None
        if may_match(raw):
            held = held or _OneTime(score, order)
            held.add(read_dead_letter(queue, raw, score))
    if held is not None:
        yield from _all_of(db, queue, held, may_match)


def _all_of(
    db: Database, queue: DeadLetterQueue, held: _OneTime, may_match: Callable[[bytes], bool]
) -> Iterator[StoredDeadLetter]:
    """Yield all dead letters of the score. Those that were not held are read again, once the others were taken."""
    while True:
        entries = held.in_order()
        yield from entries
        if held.left_out_from is None or not entries:
            return
        held = _OneTime(held.score, held.order, after=held.order(entries[-1]))
        for raw, score in _members(db, queue, held.score, held.score, None, newest_first=True):
            if may_match(raw):
                held.add(read_dead_letter(queue, raw, score))


def _members(
    db: Database,
    queue: DeadLetterQueue,
    first: float,
    end: float,
    on_read: Callable[[int], None] | None,
    *,
    newest_first: bool,
) -> Iterator[tuple[bytes, float]]:
    """Yield each member with its score, page by page."""
    # The position is (score, entries of that score read so far). A rank would shift when somebody deletes an entry.
    start, skip = first, 0
    seen: set[int] = set()  # an entry that is pushed within the same second meanwhile makes some entries come twice
    while True:
        page, is_last = _read_page(db, queue, start, end, skip, READ_PAGE, newest_first=newest_first)
        if on_read is not None:
            on_read(len(page))
        yield from ((raw, score) for raw, score in page if hash(raw) not in seen)
        if is_last:
            return
        last = page[-1][1]
        seen = {hash(raw) for raw, score in page if score == last} | (seen if last == start else set())
        skip = sum(score == last for _, score in page) + (skip if last == start else 0)
        start = last


def _read_page(
    db: Database, queue: DeadLetterQueue, start: float, end: float, skip: int, max_count: int, *, newest_first: bool
) -> tuple[list[tuple[bytes, float]], bool]:
    """Return (members with their scores, whether none follow)."""
    is_last, *parts = db.run(
        "deadletters/page",
        [keys.dead_letters(queue)],
        [start, end, int(newest_first), skip, max_count, PAGE_BYTES],
    )
    page = [(raw, float(score)) for part in parts for raw, score in zip(part[::2], part[1::2], strict=True)]
    return page, bool(is_last)


def newest_place(entry: StoredDeadLetter) -> Place:
    """Return the place of a dead letter where the newest one comes first."""
    return -entry.score, entry.tie_break


def _oldest(entry: StoredDeadLetter) -> Place:
    return entry.score, entry.tie_break
