"""On-demand requests, which VMPooler's API server writes: accepted, filled, closed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.requests import CloneItem, RequestStatus, Wanted
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.arguments import counted_words
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import leading_number
from vmpooler_tasks.store.redis.reads import Reads
from vmpooler_tasks.store.vmpooler import queues

CLOSED_REQUEST_SECONDS = 30 * 24 * 3600
"""How long a closed request's creation time and delivered VMs are kept, as VMPooler does."""

MAX_OLDEST = 10
"""Requests of each list that `read_oldest` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An open request. `since` is the epoch of its creation."""

    id: bytes
    since: float
    requested: str | None
    status: str | None

    @property
    def is_closed(self) -> bool:
        """True for a final status. VMPooler sets other ones on the way there."""
        return self.status in set(RequestStatus)


def read_requests(db: Database, key: bytes) -> list[Request]:
    """Return the requests of this set (waiting, or being filled), oldest first. Raise WrongTypeError."""
    with db.translated_errors(key):
        found = db.client.zrange(key, 0, -1, withscores=True)
    rows = queues.read_fields(db, [keys.request(name) for name, _ in found], b"requested", b"status")
    return [
        Request(id=name, since=since, requested=_text(requested), status=_text(status))
        for (name, since), (requested, status) in zip(found, rows, strict=True)
    ]


def read_oldest(db: Database, created_before: float) -> tuple[bytes, float] | None:
    """Return the id and the epoch of creation of the oldest open request that was created before this epoch.

    A request of another type is left out. Of each list the first MAX_OLDEST are read.
    """
    reads = Reads()
    for key in keys.OPEN_REQUESTS:
        reads.add(key, "ZRANGE", key, "-inf", f"({created_before!r}", "BYSCORE", "LIMIT", 0, MAX_OLDEST, "WITHSCORES")
    replies = reads.send(db)
    old = {name: float(since) for key in keys.OPEN_REQUESTS for name, since in replies.get(key, ())}
    hashes = Reads()
    for name in old:
        hashes.add(name, "HGET", keys.request(name), "requested")
    found = hashes.send(db)
    return min(((name, since) for name, since in old.items() if found.get(name)), key=lambda one: one[1], default=None)


def open_request_ids(db: Database) -> list[str]:
    """Return the ids of the requests that wait or are being filled. Raise WrongTypeError."""
    found = [db.call("ZRANGE", key, 0, -1) for key in keys.OPEN_REQUESTS]
    return [readable(name) for names in found for name in names]


def is_known(db: Database, request_id: str) -> bool:
    """Return whether Redis still has the record of this request."""
    return bool(db.call("EXISTS", keys.request(_raw(request_id))))


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", errors="surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def accept(db: Database, request: Request, wanted: Sequence[Wanted]) -> bool:
    """Queue the request's clones, and mark it as being filled. Return False if it was accepted, closed or changed."""
    name = request.id.decode(errors="surrogateescape")
    items = [_raw(str(CloneItem(part, name))) for part in wanted]
    return bool(
        db.run(
            "requests/accept",
            [
                keys.WAITING_REQUESTS,
                keys.PROCESSING_REQUESTS,
                keys.PENDING_ONDEMAND_CLONES,
                keys.request(request.id),
                keys.REQUESTED_AT,
            ],
            [request.id, _raw(request.requested or ""), request.since - CLOSED_REQUEST_SECONDS, *items],
        )
    )


def read_items(db: Database) -> list[bytes]:
    """Return the queued clones of all requests, in their order. Raise WrongTypeError."""
    found: list[bytes] = db.call("ZRANGE", keys.PENDING_ONDEMAND_CLONES, 0, -1)
    return found


def drop_item(db: Database, raw: bytes) -> None:
    """Remove one item from the queue."""
    db.call("ZREM", keys.PENDING_ONDEMAND_CLONES, raw)


def start_clones(
    db: Database,
    raw: bytes,
    item: CloneItem,
    names: Sequence[str],
    *,
    max_clones: int,
    leased_until: float,
    now: float,
    metadata: Mapping[str, Any],
) -> list[str] | None:
    """Start clones of this item while slots are free and its request lacks VMs, and queue the rest.

    Return None if the item is gone: its request is closed, or lacks no VM. The item of a paused pool waits.
    """
    wanted, request_id = item.wanted, _raw(item.request_id)
    started = db.run(
        "requests/start_clones",
        [
            keys.PENDING_ONDEMAND_CLONES,
            keys.request(request_id),
            keys.queue(Queue.PENDING, wanted.pool),
            *keys.REQUEST_SLOTS,
            keys.PAUSED,
            keys.delivered(request_id, wanted.alias, wanted.pool),
            keys.queue(Queue.RUNNING, wanted.pool),
            *keys.OPEN_REQUESTS,
        ],
        [
            raw,
            wanted.count,
            *around_count(wanted, request_id),
            max_clones,
            repr(leased_until),
            keys.VM_PREFIX,
            keys.WORK_PREFIX,
            *(wanted.pool, request_id, wanted.alias, repr(now)),
            *counted_words(metadata),
            *names,
        ],
    )
    return None if started is None else [name.decode() for name in started]


def around_count(part: Wanted, request_id: bytes) -> tuple[bytes, bytes]:
    """Return the text of an item before and behind its count."""
    return _raw(f"{part.alias}:{part.pool}:"), b":" + request_id


def fill(db: Database, request_id: bytes, wanted: Sequence[Wanted]) -> bool:
    """Mark the request ready if all of its VMs are delivered and run. Return True if that happened now."""
    sets = [
        key
        for part in wanted
        for key in (keys.delivered(request_id, part.alias, part.pool), keys.queue(Queue.RUNNING, part.pool))
    ]
    return bool(
        db.run(
            "requests/fill",
            [keys.request(request_id), keys.PROCESSING_REQUESTS, *sets],
            [request_id, CLOSED_REQUEST_SECONDS, *(part.count for part in wanted)],
        )
    )


def refill(db: Database, request_id: bytes, part: Wanted, *, dry_run: bool = False) -> int:
    """Queue clones for the VMs that this part of an open request has lost. Return how many; a dry run only counts."""
    before, behind = around_count(part, request_id)
    return int(
        db.run(
            "requests/refill",
            [
                keys.request(request_id),
                keys.delivered(request_id, part.alias, part.pool),
                keys.queue(Queue.PENDING, part.pool),
                keys.PENDING_ONDEMAND_CLONES,
                keys.queue(Queue.RUNNING, part.pool),
            ],
            [part.count, keys.VM_PREFIX, request_id, part.alias, before, behind, int(dry_run)],
        )
    )


def close(
    db: Database, request_id: bytes, wanted: Sequence[Wanted], reason: str, keep_seconds: float
) -> tuple[RequestStatus, list[str]]:
    """Close the request; an open one fails for this reason. Return its status, and the VMs moved to completed."""
    status, completed = db.run(
        "requests/close",
        [
            keys.request(request_id),
            keys.WAITING_REQUESTS,
            keys.PROCESSING_REQUESTS,
            keys.PENDING_ONDEMAND_CLONES,
            *part_keys(request_id, wanted),
        ],
        [request_id, reason, int(keep_seconds), *part_words(request_id, wanted)],
    )
    return RequestStatus(status.decode()), [vm.decode(errors="backslashreplace") for vm in completed]


def part_keys(request_id: bytes, wanted: Sequence[Wanted]) -> list[bytes]:
    """Return the keys delivered, running, completed, for each part of the request."""
    return [
        key
        for part in wanted
        for key in (
            keys.delivered(request_id, part.alias, part.pool),
            keys.queue(Queue.RUNNING, part.pool),
            keys.queue(Queue.COMPLETED, part.pool),
        )
    ]


def part_words(request_id: bytes, wanted: Sequence[Wanted]) -> list[bytes | int]:
    """Return for each part how many VMs it asks for, and the text of its items before and behind their count."""
    return [word for part in wanted for word in (part.count, *around_count(part, request_id))]


def read_retry_count(db: Database, request_id: bytes) -> int:
    """Return how many clones of this request were retried; 0 if there is no such request."""
    return leading_number(db.call("HGET", keys.request(request_id), "retry_count"))


def read_requested(db: Database, request_id: bytes) -> str | None:
    """Return what the request asks for, as text; None if there is no such request."""
    return _text(db.call("HGET", keys.request(request_id), "requested"))


def create(db: Database, request_id: str, wanted: Sequence[Wanted], now: float) -> None:
    """Create a request as VMPooler's API server does."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=True)
        pipe.hset(keys.request(request_id.encode()), mapping={"requested": ",".join(map(str, wanted))})
        pipe.zadd(keys.WAITING_REQUESTS, {request_id: int(now)})
        pipe.execute()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """All fields of a request without its token. `since` is the epoch of its creation, if that is known."""

    fields: Mapping[str, str]
    since: float | None
    is_filling: bool


def read_record(db: Database, request_id: bytes) -> RequestRecord:
    """Read everything that Redis holds of one request; no fields if there is no such request."""
    with db.translated_errors(keys.request(request_id)):
        pipe = db.client.pipeline(transaction=False)
        pipe.hgetall(keys.request(request_id))
        pipe.zscore(keys.WAITING_REQUESTS, request_id)
        pipe.zscore(keys.PROCESSING_REQUESTS, request_id)
        pipe.zscore(keys.REQUESTED_AT, request_id)
        raw, waiting, filling, requested_at = pipe.execute()
    fields = {readable(name): readable(value) for name, value in raw.items() if not name.startswith(b"token:")}
    since = waiting or filling or requested_at
    return RequestRecord(fields=fields, since=since, is_filling=filling is not None)


def read_delivered(db: Database, request_id: bytes, part: Wanted) -> list[str]:
    """Return the VMs that were delivered for this part of a request."""
    return [readable(vm) for vm in db.call("SMEMBERS", keys.delivered(request_id, part.alias, part.pool))]


def vms_for(db: Database, queue: Queue, pool: str, request_id: bytes) -> list[str]:
    """Return the VMs in this queue that were made for the request."""
    names = sorted(db.call("SMEMBERS", keys.queue(queue, pool)))
    rows = queues.read_fields(db, [keys.vm(name) for name in names], b"request_id")
    return [readable(name) for name, (owner,) in zip(names, rows, strict=True) if owner == request_id]
