"""Reads VMPooler's queues and metadata page by page, so that neither the server nor the worker is ever held long."""

from collections.abc import Iterator, Sequence
from typing import Any

from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.staleness import Stamp
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Answer, Database

PAGE = 500
"""VMs per round trip: one to two milliseconds of the server's time."""

SCAN_COUNT = 1000
"""Keys looked at per SCAN."""

FORGOTTEN_POOL = 90 * 24 * 3600
"""Seconds after which nothing is remembered of a pool that no cycle looked at."""

NEVER_EXPIRES = -1
"""What TTL answers for a key without an expiry."""


def registered_pools(db: Database) -> tuple[list[str], list[bytes]]:
    """The pools that a VMPooler has registered, by name; and what is registered but is no name, since it is no UTF-8.

    Raises WrongTypeError.
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
    """The pools that a VMPooler has registered, for those who cannot say what is wrong with the others."""
    return registered_pools(db)[0]


def pages(db: Database, queue: Queue, pool: str, field: bytes) -> Iterator[tuple[list[bytes], list[Stamp]]]:
    """(names, timestamps) of a queue, page by page. A VM may come twice while the set changes size.

    Raises WrongTypeError if the key is no set.
    """
    key = keys.queue(queue, pool)

    def page(cursor: bytes) -> Sequence[Any]:
        return (1, key, cursor, PAGE, keys.VM_PREFIX, field)

    for _, names, stamps in db.stream(page, "vmpooler/read_queue"):
        if names:
            yield names, stamps


def names(db: Database, key: bytes) -> Iterator[list[bytes]]:
    """The members of one queue, page by page. Raises WrongTypeError."""
    for _, page in db.stream(lambda cursor: ("SSCAN", key, cursor, "COUNT", SCAN_COUNT)):
        if page:
            yield page


def size(db: Database, queue: Queue, pool: str) -> int:
    return int(db.call("SCARD", keys.queue(queue, pool)))


def are_in(db: Database, queue: Queue, pool: str, vms: Sequence[bytes]) -> list[bool]:
    """Whether each VM is in this queue. Raises WrongTypeError."""
    return [bool(flag) for flag in db.call("SMISMEMBER", keys.queue(queue, pool), *vms)] if vms else []


def keyspace(db: Database) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """(names of VMs that have metadata, keys of queues), page by page, each at least once.

    It is the only way to learn of both: a pool that nobody configures any more still has queues.
    """
    start = len(keys.VM_PREFIX)
    for _, found in db.stream(lambda cursor: ("SCAN", cursor, "MATCH", keys.EVERYTHING, "COUNT", SCAN_COUNT)):
        others = [key for key in found if not key.startswith(keys.VM_PREFIX)]
        vms = found if not others else [key for key in found if key.startswith(keys.VM_PREFIX)]
        yield [key[start:] for key in vms], [key for key in others if keys.is_queue(key)]


class MetadataAnswer:
    """What `metadata` will answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def unexpiring(self, vms: Sequence[bytes]) -> list[tuple[bytes, Stamp]]:
        """(VM, timestamp) of those that are there and do not expire."""
        expiries, stamps = self._answer.result()
        found = zip(vms, expiries, stamps, strict=True)
        return [(vm, stamp) for vm, expires_in, stamp in found if expires_in == NEVER_EXPIRES]


def metadata(db: Database, vms: Sequence[bytes], field: bytes) -> MetadataAnswer:
    """Asks what decides whether each is an orphan."""
    return MetadataAnswer(db.begin("vmpooler/read_metadata", [], [field, *map(keys.vm, vms)]))


def fields(db: Database, vms: Sequence[bytes], *wanted: bytes) -> Answer:
    """Asks for these metadata fields of each VM; a list for each, None where missing or unreadable."""
    return db.begin("vmpooler/read_fields", [], [len(wanted), *wanted, *map(keys.vm, vms)])


def read_fields(db: Database, hashes: Sequence[bytes], *wanted: bytes) -> list[list[bytes | None]]:
    """The same of any hashes, by key, in as many round trips as there are pages."""
    found: list[list[bytes | None]] = []
    for page in chunks(hashes, PAGE):
        found += db.run("vmpooler/read_fields", [], [len(wanted), *wanted, *page])
    return found


def unqueued(db: Database, vms: Sequence[bytes], queues: Sequence[bytes]) -> list[bool]:
    """Whether each VM is in none of these queues at this instant; one round trip."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for key in queues:
            pipe.smismember(key, list(vms))  # as bytes: a key need not be UTF-8
        replies = [reply for reply in pipe.execute(raise_on_error=False) if isinstance(reply, list)]
    return [not any(found) for found in zip(*replies, strict=True)] if replies else [True] * len(vms)


def first_seen(db: Database, queue_name: str, pool: str, vms: Sequence[bytes], *, now: float | None) -> Answer:
    """Asks since when each of these entries without a usable timestamp is known: an epoch as text, None if it is not.

    Those that are new are remembered as of `now`; None remembers nothing.
    """
    return db.begin(
        "vmpooler/first_seen", [keys.first_seen(queue_name, pool)], ["" if now is None else now, FORGOTTEN_POOL, *vms]
    )


def forget_others(db: Database, queue_name: str, pool: str, present: set[int]) -> None:
    """Forgets the entries that are not among `present` (hashes of names): they left, or got a timestamp."""
    key = keys.first_seen(queue_name, pool)
    with db.translated_errors(key):
        gone = [name for name, _ in db.client.zscan_iter(key, count=SCAN_COUNT) if hash(name) not in present]
        for page in chunks(gone, PAGE):
            db.client.zrem(key, *page)
