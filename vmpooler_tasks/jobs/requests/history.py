"""The history of an on-demand request: its VMs, its dead letters and its end, in order of time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.requests import RequestStage, Wanted, parse_requested
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import vms
from vmpooler_tasks.store.requests import fulfilment
from vmpooler_tasks.store.requests.fulfilment import RequestRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEvent:
    """One event of a request. `at` is an epoch."""

    at: float
    what: str
    vm: str = ""
    pool: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHistory:
    """A request with its events, oldest first. `status` is a RequestStage, or the request's final status.

    `delivered` holds the VMs of each part of the request.
    """

    id: str
    status: str
    reason: str
    requested: str
    retries: int
    delivered: Mapping[str, Sequence[str]]
    events: Sequence[RequestEvent]

    def as_json(self) -> dict[str, Any]:
        return {
            "request": self.id,
            "status": self.status,
            "failure_reason": self.reason,
            "requested": self.requested,
            "retry_count": self.retries,
            "delivered": {part: list(names) for part, names in self.delivered.items()},
            "events": [
                {"at": one.at, "what": one.what, "vm": one.vm, "pool": one.pool, "detail": one.detail}
                for one in self.events
            ],
        }


def read_history(db: Database, request_id: str) -> RequestHistory:
    """Return the history of one request. Raise InvalidInputError if neither Redis nor a dead letter knows it."""
    record = fulfilment.read_record(db, _raw(request_id))
    dead_letters = _dead_letters(db, DeadLetterFilter(request=request_id))
    if not record.fields and not dead_letters:
        raise InvalidInputError(f"nothing is known of a request {request_id!r}")
    return _history(db, request_id, record, dead_letters)


def read_open_histories(db: Database) -> list[RequestHistory]:
    """Return the histories of waiting requests, then of those being filled. The dead letters are read once for all."""
    names = [readable(one.id) for key in keys.OPEN_REQUESTS for one in fulfilment.read_requests(db, key)]
    dead_letters: dict[str, list[StoredDeadLetter]] = {name: [] for name in names}
    for entry in _dead_letters(db, DeadLetterFilter()) if names else ():
        if entry.text("request_id") in dead_letters:
            dead_letters[entry.text("request_id")].append(entry)
    return [_history(db, name, fulfilment.read_record(db, _raw(name)), dead_letters[name]) for name in names]


def _raw(request_id: str) -> bytes:
    return request_id.encode(errors="surrogateescape")


def _dead_letters(db: Database, wanted: DeadLetterFilter) -> list[StoredDeadLetter]:
    """Return the dead letters of all queues that can be read."""
    readable_ones, _ = query.without_unreadable(db, wanted)
    return list(query.find(db, readable_ones))


def _history(
    db: Database, request_id: str, record: RequestRecord, dead_letters: Sequence[StoredDeadLetter]
) -> RequestHistory:
    raw, text = _raw(request_id), record.fields.get("requested", "")
    try:
        wanted = parse_requested(text)
    except ValueError:
        wanted = ()
    delivered = {str(part): sorted(fulfilment.read_delivered(db, raw, part)) for part in wanted}
    pool_of = _pool_of_vms(db, raw, wanted, delivered) | {one.text("vm"): one.text("pool") for one in dead_letters}
    events = [
        *([RequestEvent(at=record.since, what="requested", detail=text)] if record.since else ()),
        *_vm_events(db, pool_of),
        *map(_dead_letter_event, dead_letters),
    ]
    stage = RequestStage.FILLING if record.is_filling else RequestStage.WAITING
    return RequestHistory(
        id=request_id,
        status=record.fields.get("status") or str(stage),
        reason=record.fields.get("failure_reason", ""),
        requested=text,
        retries=fulfilment.read_retry_count(db, raw),
        delivered=delivered,
        events=sorted(events, key=lambda event: event.at),
    )


def _dead_letter_event(entry: StoredDeadLetter) -> RequestEvent:
    return RequestEvent(
        at=entry.score,
        what=f"failed ({entry.queue})",
        vm=entry.text("vm"),
        pool=entry.text("pool"),
        detail=f"{entry.text('error_class')}: {entry.text('error_message')} [{entry.id}]",
    )


def _pool_of_vms(
    db: Database, request_id: bytes, wanted: Sequence[Wanted], delivered: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return VM → pool of the request's VMs that a queue or its delivered set names."""
    places: dict[str, str] = {}
    for part in wanted:
        for queue in (Queue.PENDING, Queue.RUNNING, Queue.COMPLETED):
            places |= dict.fromkeys(fulfilment.vms_for(db, queue, part.pool, request_id), part.pool)
        places |= dict.fromkeys(delivered[str(part)], part.pool)
    return places


def _vm_events(db: Database, pool_of: Mapping[str, str]) -> list[RequestEvent]:
    names = sorted(pool_of)
    events = []
    for vm, fields in zip(names, vms.read_metadata(db, [name.encode() for name in names]), strict=True):
        for field, what in (("clone", "clone started"), ("ready", "delivered"), ("destroy", "destroyed")):
            if (stamp := fields.get(field)) and (time := parse_time(stamp)):
                detail = f"cloned in {readable(fields['clone_time'] or b'?')} s" if field == "ready" else ""
                events.append(RequestEvent(at=time.timestamp(), what=what, vm=vm, pool=pool_of[vm], detail=detail))
    return events
