"""On-demand requests, which VMPooler's API server writes: taken up, filled, answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.requests import CloneItem, RequestStatus, Wanted
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.arguments import counted_words
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import leading_number
from vmpooler_tasks.store.vmpooler import queues

REMEMBERED_SECONDS = 30 * 24 * 3600
"""For so long it is known when a request was made that has its answer; and what it was given, as VMPooler keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it stands; `since`: the epoch of its making."""

    id: bytes
    since: float
    requested: str | None
    status: str | None

    @property
    def is_answered(self) -> bool:
        """Any other status is one of somebody else's, on the way."""
        return self.status in set(RequestStatus)


def waiting(db: Database, key: bytes) -> list[Request]:
    """The requests that wait (or are being filled, as `key` says), oldest first. Raises WrongTypeError."""
    with db.translated_errors(key):
        found = db.client.zrange(key, 0, -1, withscores=True)
    rows = queues.read_fields(db, [keys.request(name) for name, _ in found], b"requested", b"status")
    return [
        Request(id=name, since=since, requested=_text(requested), status=_text(status))
        for (name, since), (requested, status) in zip(found, rows, strict=True)
    ]


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", errors="surrogateescape")


def accept(db: Database, request: Request, wanted: Sequence[Wanted]) -> bool:
    """Its clones are queued, and it is being filled. False if it was taken up, answered or changed meanwhile."""
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
                keys.ASKED,
            ],
            [
                request.id,
                _raw(request.requested or ""),
                request.since - REMEMBERED_SECONDS,
                *items,
            ],
        )
    )


def items(db: Database) -> list[bytes]:
    """The clones still to be started for requests, in the order in which they are. Raises WrongTypeError."""
    found: list[bytes] = db.call("ZRANGE", keys.PENDING_ONDEMAND_CLONES, 0, -1)
    return found


def drop_item(db: Database, raw: bytes) -> None:
    db.call("ZREM", keys.PENDING_ONDEMAND_CLONES, raw)


def begin_clones(
    db: Database,
    raw: bytes,
    item: CloneItem,
    names: Sequence[str],
    *,
    limit: int,
    leased_until: float,
    metadata: Mapping[str, Any],
) -> list[str] | None:
    """The clones begun of this item; what is left of it stays. None if nobody waits for it any more."""
    wanted, slots = item.wanted, keys.REQUEST_SLOTS
    before, behind = around_count(wanted, _raw(item.request_id))
    begun = db.run(
        "requests/start_clones",
        [
            keys.PENDING_ONDEMAND_CLONES,
            keys.request(_raw(item.request_id)),
            keys.queue(Queue.PENDING, wanted.pool),
            slots.key,
            slots.counter,
        ],
        [
            raw,
            wanted.count,
            before,
            behind,
            limit,
            repr(leased_until),
            keys.VM_PREFIX,
            keys.WORK_PREFIX,
            *counted_words(metadata),
            *names,
        ],
    )
    return None if begun is None else [name.decode() for name in begun]


def around_count(part: Wanted, request_id: bytes) -> tuple[bytes, bytes]:
    """The text of an item before and behind its count."""
    return _raw(f"{part.alias}:{part.pool}:"), b":" + request_id


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def fill(db: Database, request_id: bytes, wanted: Sequence[Wanted]) -> bool:
    """Whether it is ready now: all of its VMs are delivered."""
    sets = [keys.delivered(request_id, part.alias, part.pool) for part in wanted]
    return bool(
        db.run(
            "requests/fill",
            [keys.request(request_id), keys.PROCESSING_REQUESTS, *sets],
            [request_id, REMEMBERED_SECONDS, *(part.count for part in wanted)],
        )
    )


def refill(db: Database, request_id: bytes, part: Wanted, *, dry_run: bool = False) -> int:
    """How many VMs this part of an open request has lost on their way; but for a dry run, they are to be begun anew."""
    before, behind = around_count(part, request_id)
    return int(
        db.run(
            "requests/refill",
            [
                keys.request(request_id),
                keys.delivered(request_id, part.alias, part.pool),
                keys.queue(Queue.PENDING, part.pool),
                keys.PENDING_ONDEMAND_CLONES,
            ],
            [part.count, keys.VM_PREFIX, request_id, part.alias, before, behind, int(dry_run)],
        )
    )


def close(
    db: Database, request_id: bytes, wanted: Sequence[Wanted], reason: str, keep_seconds: float
) -> tuple[RequestStatus, list[str]]:
    """(how it ended, the delivered VMs that are completed). One that has no answer fails for this reason."""
    name = request_id.decode(errors="surrogateescape")
    places = [
        key
        for part in wanted
        for key in (
            keys.delivered(request_id, part.alias, part.pool),
            keys.queue(Queue.RUNNING, part.pool),
            keys.queue(Queue.COMPLETED, part.pool),
        )
    ]
    left = [
        _raw(str(CloneItem(Wanted(part.alias, part.pool, count), name)))
        for part in wanted
        for count in range(part.count + 1)
    ]
    status, completed = db.run(
        "requests/close",
        [
            keys.request(request_id),
            keys.WAITING_REQUESTS,
            keys.PROCESSING_REQUESTS,
            keys.PENDING_ONDEMAND_CLONES,
            *places,
        ],
        [request_id, reason, int(keep_seconds), *left],
    )
    return RequestStatus(status.decode()), [vm.decode(errors="backslashreplace") for vm in completed]


def retry_count(db: Database, request_id: bytes) -> int:
    """How often clones of this request were made again; 0 if it is not there."""
    return leading_number(db.call("HGET", keys.request(request_id), "retry_count"))


def requested(db: Database, request_id: bytes) -> str | None:
    """What it asks for, as text; None if it is not there."""
    return _text(db.call("HGET", keys.request(request_id), "requested"))


def create(db: Database, request_id: str, wanted: Sequence[Wanted], now: float) -> None:
    """Makes a request as VMPooler's API server does."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=True)
        pipe.hset(keys.request(request_id.encode()), mapping={"requested": ",".join(map(str, wanted))})
        pipe.zadd(keys.WAITING_REQUESTS, {request_id: int(now)})
        pipe.execute()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All fields of a request; `since`: the epoch of its making, if it is known."""

    fields: Mapping[str, str]
    since: float | None
    is_filling: bool


def facts(db: Database, request_id: bytes) -> Facts:
    with db.translated_errors(keys.request(request_id)):
        pipe = db.client.pipeline(transaction=False)
        pipe.hgetall(keys.request(request_id))
        pipe.zscore(keys.WAITING_REQUESTS, request_id)
        pipe.zscore(keys.PROCESSING_REQUESTS, request_id)
        pipe.zscore(keys.ASKED, request_id)
        raw, waits, filling, asked = pipe.execute()
    fields = {readable(name): readable(value) for name, value in raw.items() if not name.startswith(b"token:")}
    return Facts(fields=fields, since=waits or filling or asked, is_filling=filling is not None)


def delivered(db: Database, request_id: bytes, part: Wanted) -> list[str]:
    """The VMs that were delivered for this part of a request."""
    return [readable(vm) for vm in db.call("SMEMBERS", keys.delivered(request_id, part.alias, part.pool))]


def vms_of(db: Database, queue: Queue, pool: str, request_id: bytes) -> list[str]:
    """The VMs in this queue that were made for the request."""
    names = sorted(db.call("SMEMBERS", keys.queue(queue, pool)))
    rows = queues.read_fields(db, [keys.vm(name) for name in names], b"request_id")
    return [readable(name) for name, (owner,) in zip(names, rows, strict=True) if owner == request_id]
