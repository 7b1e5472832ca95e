"""VMPooler's queues and metadata, read page by page, so that neither the server nor the worker is held for long.

Functions named `query_…` and `remember_…` send their request and return a pending reply, which the caller has to read
or to close.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from vmpooler_tasks.model.names import NameSet, Queue
from vmpooler_tasks.model.staleness import Stamp
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database, PendingReply

PAGE = 500
"""VMs per round trip: one to two milliseconds of the server's time."""

SCAN_COUNT = 1000
"""Keys that the server visits per SCAN."""

FORGET_POOL_AFTER_SECONDS = 90 * 24 * 3600
"""A pool that no cycle visits for so long loses the times at which its entries were first seen."""

NO_EXPIRY = -1
"""TTL's reply for a key without an expiry."""


def registered_pools(db: Database) -> tuple[list[str], list[bytes]]:
    """Return the names of the pools that a VMPooler has registered, and the members that are not UTF-8.

    Raise WrongTypeError.
    """
    names: list[str] = []
    unreadable: list[bytes] = []
    for raw in sorted(db.call("SMEMBERS", keys.POOLS)):
        try:
            names.append(raw.decode())
        except UnicodeDecodeError:
            unreadable.append(raw)
    return names, unreadable


def pool_names(db: Database) -> list[str]:
    """Return the names of the registered pools; members that are not UTF-8 are left out. Raise WrongTypeError."""
    return registered_pools(db)[0]


def read_pages(db: Database, queue: Queue, pool: str, field: bytes) -> Iterator[tuple[list[bytes], list[Stamp]]]:
    """Yield the pages of a queue: names, and the timestamp of each. A VM may come twice while the set changes size.

    Raise WrongTypeError if the key is not a set.
    """
    key = keys.queue(queue, pool)

    def page(cursor: bytes) -> Sequence[Any]:
        return (1, key, cursor, PAGE, keys.VM_PREFIX, field)

    for _, names, stamps in db.stream(page, "vmpooler/read_queue"):
        if names:
            yield names, stamps


def read_names(db: Database, key: bytes) -> Iterator[list[bytes]]:
    """Yield the members of one queue, page by page. Raise WrongTypeError."""
    for _, page in db.stream(lambda cursor: ("SSCAN", key, cursor, "COUNT", SCAN_COUNT)):
        if page:
            yield page


def size(db: Database, queue: Queue, pool: str) -> int:
    """Return how many VMs the queue holds. Raise WrongTypeError."""
    return int(db.call("SCARD", keys.queue(queue, pool)))


def are_in(db: Database, queue: Queue, pool: str, vms: Sequence[bytes]) -> list[bool]:
    """Return for each VM whether it is in this queue. Raise WrongTypeError."""
    return [bool(flag) for flag in db.call("SMISMEMBER", keys.queue(queue, pool), *vms)] if vms else []


def are_unqueued(db: Database, vms: Sequence[bytes], queues: Sequence[bytes]) -> list[bool]:
    """Return for each VM whether none of these queues holds it now. One round trip."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for key in queues:
            pipe.smismember(key, list(vms))  # as bytes: a key need not be UTF-8
        replies = [reply for reply in pipe.execute(raise_on_error=False) if isinstance(reply, list)]
    return [not any(found) for found in zip(*replies, strict=True)] if replies else [True] * len(vms)


def scan_keyspace(db: Database) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Yield names of VMs that have metadata, and keys of queues, page by page, each at least once.

    A scan is the only way to find both: a pool that is no longer configured still has queues.
    """
    start = len(keys.VM_PREFIX)
    for _, found in db.stream(lambda cursor: ("SCAN", cursor, "MATCH", keys.VMPOOLER_KEYS, "COUNT", SCAN_COUNT)):
        others = [key for key in found if not key.startswith(keys.VM_PREFIX)]
        vms = found if not others else [key for key in found if key.startswith(keys.VM_PREFIX)]
        yield [key[start:] for key in vms], [key for key in others if keys.is_queue(key)]


def query_unexpiring(db: Database, vms: Sequence[bytes], field: bytes) -> PendingReply[list[tuple[bytes, Stamp]]]:
    """Query which of these VMs have metadata that does not expire. The reply holds (VM, timestamp) of each of them."""

    def parse(reply: Any) -> list[tuple[bytes, Stamp]]:
        expiries, stamps = reply
        rows = zip(vms, expiries, stamps, strict=True)
        return [(vm, stamp) for vm, expires_in, stamp in rows if expires_in == NO_EXPIRY]

    return db.send("vmpooler/read_metadata", [], [field, *map(keys.vm, vms)], parse)


def query_fields(db: Database, vms: Sequence[bytes], *fields: bytes) -> PendingReply[list[list[bytes | None]]]:
    """Query these metadata fields. The reply holds a list for each VM, with None where a field cannot be read."""
    return db.send("vmpooler/read_fields", [], [len(fields), *fields, *map(keys.vm, vms)])


def read_fields(db: Database, hashes: Sequence[bytes], *fields: bytes) -> list[list[bytes | None]]:
    """Return these fields of each hash, with None where a field cannot be read. One round trip for each page."""
    found: list[list[bytes | None]] = []
    for page in chunks(hashes, PAGE):
        found += db.run("vmpooler/read_fields", [], [len(fields), *fields, *page])
    return found


FirstSeen = list[float | None]
"""For each entry the epoch at which it was first seen; None if it is not remembered."""


def query_first_seen(db: Database, target: str, pool: str, vms: Sequence[bytes]) -> PendingReply[FirstSeen]:
    """Query when these entries without a usable timestamp were first seen. Nothing is remembered."""
    return _send_first_seen(db, target, pool, vms, "")


def remember_first_seen(
    db: Database, target: str, pool: str, vms: Sequence[bytes], *, now: float
) -> PendingReply[FirstSeen]:
    """Remember the entries that are new as first seen `now`. The reply says when each of all was first seen."""
    return _send_first_seen(db, target, pool, vms, now)


def _send_first_seen(
    db: Database, target: str, pool: str, vms: Sequence[bytes], now: float | str
) -> PendingReply[FirstSeen]:
    args = [now, FORGET_POOL_AFTER_SECONDS, *vms]
    return db.send("vmpooler/first_seen", [keys.first_seen(target, pool)], args, _parse_epochs)


def _parse_epochs(reply: list[bytes | None]) -> FirstSeen:
    return [None if epoch is None else float(epoch) for epoch in reply]


def forget_others(db: Database, target: str, pool: str, present: NameSet) -> None:
    """Forget when entries were first seen, except those in `present`: the others left or have a timestamp now."""
    key = keys.first_seen(target, pool)
    with db.translated_errors(key):
        gone = present.missing([name for name, _ in db.client.zscan_iter(key, count=SCAN_COUNT)])
        for page in chunks(gone, PAGE):
            db.client.zrem(key, *page)
