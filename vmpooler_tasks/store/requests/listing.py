"""Lists of on-demand requests, newest first, read page by page."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.model.requests import CloneItem, RequestPart, Wanted, parse_item, part_of
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import leading_number
from vmpooler_tasks.store.redis.reads import Reads
from vmpooler_tasks.store.vmpooler import queues

REQUESTS_PAGE = 250
"""Requests that one round trip reads."""

MAX_ITEMS = 10_000
"""Queued clones that a list reads to count the clones of a request that have not started."""

ALL_LISTS = (*keys.OPEN_REQUESTS, keys.REQUESTED_AT)


class Place(NamedTuple):
    """A place in the list: the epoch of a request's creation, and its id."""

    since: float
    id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRequest:
    """One request without its token. `key` is the list that named it; None for one that was read by its id."""

    place: Place
    key: bytes | None
    requested: str | None
    status: str
    reason: str
    user: str
    retries: int


@dataclass(slots=True)
class RequestReader:
    """Reads requests. `unreadable` collects the names of keys that are of another type than expected."""

    db: Database
    unreadable: list[str] = field(default_factory=list)

    def newest_first(self, lists: Iterable[bytes], before: Place | None = None) -> Iterator[ListedRequest]:
        """Yield the requests of these lists, or those behind the place `before`. Expired requests are left out."""
        streams = [self._places(key, before) for key in lists]
        page: dict[Place, bytes] = {}
        for place, key in heapq.merge(*streams, key=lambda item: item[0], reverse=True):
            if len(page) == REQUESTS_PAGE and place not in page:
                yield from self._read(page)
                page = {}
            page.setdefault(place, key)  # a request that is being filled is in two lists
        yield from self._read(page)

    def _places(self, key: bytes, before: Place | None) -> Iterator[tuple[Place, bytes]]:
        # The position is (score, requests of that score read so far): VMPooler's epochs are whole seconds.
        start, skip = (before.since if before else float("inf")), 0
        while True:
            try:
                with self.db.translated_errors(key):
                    page = self.db.client.zrange(
                        key, start, "-inf", desc=True, byscore=True, withscores=True, offset=skip, num=REQUESTS_PAGE
                    )
            except WrongTypeError:
                self.unreadable.append(readable(key))
                return
            for place in (Place(score, name) for name, score in page):
                if before is None or place < before:
                    yield place, key
            if len(page) < REQUESTS_PAGE:
                return
            last = page[-1][1]
            skip = sum(score == last for _, score in page) + (skip if last == start else 0)
            start = last

    def _read(self, page: dict[Place, bytes]) -> list[ListedRequest]:
        names = [place.id for place in page]
        rows = queues.read_fields(
            self.db,
            [keys.request(name) for name in names],
            *(b"requested", b"status", b"failure_reason", b"token:user", b"retry_count"),
        )
        found = [_listed(place, key, row) for (place, key), row in zip(page.items(), rows, strict=True)]
        return [one for one in found if one.requested is not None or one.key != keys.REQUESTED_AT]

    def read_one(self, name: bytes) -> ListedRequest | None:
        """Return one request by its id, whether a list names it or not; None if there is none."""
        reads = Reads()
        for key in ALL_LISTS:
            reads.add(key, "ZSCORE", key, name)
        replies = reads.send(self.db)
        key = next((key for key in ALL_LISTS if replies.get(key) is not None), b"")
        found = self._read({Place(float(replies.get(key, 0)), name): key})
        return next((one for one in found if one.key or one.requested is not None), None)

    def read_parts(self, wanted_of: Sequence[tuple[bytes, Sequence[Wanted], bool]]) -> list[list[RequestPart]]:
        """Return the parts of each (request, what it asks for, whether it is being filled), in one round trip."""
        reads = Reads()
        for name, wanted, _ in wanted_of:
            for part in wanted:
                delivered = keys.delivered(name, part.alias, part.pool)
                reads.add(delivered, "SCARD", delivered)
        reads.add("items", "ZRANGE", keys.PENDING_ONDEMAND_CLONES, 0, MAX_ITEMS - 1)
        replies = reads.send(self.db)
        queued = _count_queued(replies.get("items", ()))
        return [
            [
                part_of(
                    part,
                    delivered=replies.get(keys.delivered(name, part.alias, part.pool), 0),
                    queued=queued.get((name.decode(errors="surrogateescape"), part.alias, part.pool), 0),
                    is_filling=is_filling,
                )
                for part in wanted
            ]
            for name, wanted, is_filling in wanted_of
        ]


def count_clones(db: Database) -> int:
    """Return the clones for requests that are in flight; 0 if their key is of another type."""
    reads = Reads()
    reads.add("clones", "ZCARD", keys.ONDEMAND_CLONES)
    return int(reads.send(db).get("clones", 0))


def _listed(place: Place, key: bytes, row: Sequence[bytes | None]) -> ListedRequest:
    requested, status, reason, user, retries = row
    return ListedRequest(
        place=place,
        key=key or None,
        requested=None if requested is None else requested.decode(errors="surrogateescape"),
        status=readable(status or b""),
        reason=readable(reason or b""),
        user=readable(user or b""),
        retries=leading_number(retries),
    )


def _count_queued(items: Iterable[bytes]) -> dict[tuple[str, str, str], int]:
    """Return (request, alias, pool) → clones that have not started."""
    counts: dict[tuple[str, str, str], int] = {}
    for raw in items:
        try:
            item: CloneItem = parse_item(raw.decode(errors="surrogateescape"))
        except ValueError:
            continue
        name = (item.request_id, item.wanted.alias, item.wanted.pool)
        counts[name] = counts.get(name, 0) + item.wanted.count
    return counts
