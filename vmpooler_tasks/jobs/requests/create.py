"""Requests for those without the API server: made, waited for, and told as a story. data-model.md: On-demand."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.requests.fulfil import refusal
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.requests import Wanted, parse_requested
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import vms
from vmpooler_tasks.store.requests import fulfilment
from vmpooler_tasks.store.requests.fulfilment import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a request, at this epoch."""

    at: float
    what: str
    vm: str = ""
    pool: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A request and all that is known of it, in order of time. `status`: waiting, filling, ready, failed or deleted.

    `delivered` are its VMs by the part of the request that they are for.
    """

    id: str
    status: str
    reason: str
    requested: str
    retries: int
    delivered: Mapping[str, Sequence[str]]
    events: Sequence[Event]

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


def pool_for(settings: Settings, name: str) -> str:
    """The pool of this name, or the first one that has it as an alias. Raises InvalidInputError."""
    if settings.pool(name):
        return name
    found = [pool.name for pool in settings.pools if name in pool.alias]
    if not found:
        known = sorted({name for pool in settings.pools for name in (pool.name, *pool.alias)})
        raise InvalidInputError(f"there is no pool {name!r}; there are {', '.join(known) or 'none'}")
    return found[0]


def make(db: Database, settings: Settings, asked: Sequence[tuple[str, int]], now: float) -> str:
    """The id of a new request for (pool or alias, count)…. Raises InvalidInputError if it could not be filled."""
    wanted = [Wanted(name, pool_for(settings, name), count) for name, count in asked]
    if why := refusal(settings, wanted):
        raise InvalidInputError(why)
    request_id = str(uuid.uuid4())
    fulfilment.create(db, request_id, wanted, now)
    return request_id


def story(db: Database, request_id: str) -> Story:
    """Raises InvalidInputError if nothing is known of it."""
    facts, letters = fulfilment.facts(db, _raw(request_id)), _letters(db, DeadLetterFilter(request=request_id))
    if not facts.fields and not letters:
        raise InvalidInputError(f"nothing is known of a request {request_id!r}")
    return _story(db, request_id, facts, letters)


def _raw(request_id: str) -> bytes:
    return request_id.encode(errors="surrogateescape")


def _letters(db: Database, wanted: DeadLetterFilter) -> list[StoredDeadLetter]:
    """Of those queues that can be read."""
    readable_ones, _ = query.without_unreadable(db, wanted)
    return list(query.find(db, readable_ones))


def _story(db: Database, request_id: str, facts: Facts, letters: Sequence[StoredDeadLetter]) -> Story:
    raw, text = _raw(request_id), facts.fields.get("requested", "")
    try:
        wanted = parse_requested(text)
    except ValueError:
        wanted = ()
    delivered = {str(part): sorted(fulfilment.delivered(db, raw, part)) for part in wanted}
    events = [
        *([Event(at=facts.since, what="asked for", detail=text)] if facts.since else ()),
        *_of_vms(db, _vms(db, raw, wanted, delivered) | {one.text("vm"): one.text("pool") for one in letters}),
        *(
            Event(
                at=one.score,
                what=f"failed ({one.queue})",
                vm=one.text("vm"),
                pool=one.text("pool"),
                detail=f"{one.text('error_class')}: {one.text('error_message')} [{one.id}]",
            )
            for one in letters
        ),
    ]
    return Story(
        id=request_id,
        status=facts.fields.get("status") or ("filling" if facts.is_filling else "waiting"),
        reason=facts.fields.get("failure_reason", ""),
        requested=text,
        retries=fulfilment.retry_count(db, raw),
        delivered=delivered,
        events=sorted(events, key=lambda event: event.at),
    )


def _vms(
    db: Database, request_id: bytes, wanted: Sequence[Wanted], delivered: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """The VMs that are or were made for it, as far as a queue names them, and the pool of each."""
    places: dict[str, str] = {}
    for part in wanted:
        for queue in (Queue.PENDING, Queue.RUNNING, Queue.COMPLETED):
            places |= dict.fromkeys(fulfilment.vms_of(db, queue, part.pool, request_id), part.pool)
        places |= dict.fromkeys(delivered[str(part)], part.pool)
    return places


def _of_vms(db: Database, places: Mapping[str, str]) -> list[Event]:
    names = sorted(places)
    events = []
    for vm, fields in zip(names, vms.metadata(db, [name.encode() for name in names]), strict=True):
        for field, what in (("clone", "clone begun"), ("ready", "delivered"), ("destroy", "destroyed")):
            if (stamp := fields.get(field)) and (time := parse_time(stamp)):
                detail = f"cloned in {readable(fields['clone_time'] or b'?')} s" if field == "ready" else ""
                events.append(Event(at=time.timestamp(), what=what, vm=vm, pool=places[vm], detail=detail))
    return events


def is_answered(db: Database, request_id: str) -> bool:
    """Whether there is nothing to wait for any more."""
    facts = fulfilment.facts(db, request_id.encode())
    return bool(facts.fields.get("status")) or not facts.fields


def open_stories(db: Database) -> list[Story]:
    """Of the requests that wait, then of those being filled. The dead letters are gone through once for all."""
    places = (keys.WAITING_REQUESTS, keys.PROCESSING_REQUESTS)
    names = [readable(one.id) for key in places for one in fulfilment.waiting(db, key)]
    letters: dict[str, list[StoredDeadLetter]] = {name: [] for name in names}
    for letter in _letters(db, DeadLetterFilter()) if names else ():
        if letter.text("request_id") in letters:
            letters[letter.text("request_id")].append(letter)
    return [_story(db, name, fulfilment.facts(db, _raw(name)), letters[name]) for name in names]
