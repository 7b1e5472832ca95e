"""List on-demand requests with what each one waits for."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.config import Settings
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.model.requests import (
    Obstacles,
    RequestPart,
    RequestStage,
    RequestStatus,
    Wanted,
    parse_requested,
    waits_for,
)
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import breakers, pauses
from vmpooler_tasks.store.requests.listing import (
    ALL_LISTS,
    ListedRequest,
    Place,
    RequestReader,
    count_clones,
)

MAX_EXAMINED = 5000
"""Requests that one page examines. If fewer match, the page is short, and the next one goes on there."""

OPEN_STATES = frozenset(map(str, RequestStage))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """The requests that meet every condition given. `search`: text in the id, the user, a name or a pool."""

    statuses: Sequence[str] = ()
    user: str | None = None
    pool: str | None = None
    search: str | None = None

    def matches(self, request: ListedRequest) -> bool:
        wanted = wanted_by(request)
        names = {name for part in wanted for name in (part.alias, part.pool)}
        text = "\n".join((readable(request.place.id), request.user, request.requested or "")).lower()
        return (
            (not self.statuses or status_of(request) in self.statuses)
            and (self.user is None or request.user == self.user)
            and (self.pool is None or self.pool in names)
            and (self.search is None or self.search.lower() in text)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One request of a list. `status` is a RequestStage or a RequestStatus; `since` the epoch of its creation."""

    id: str
    status: str
    user: str
    since: float | None
    requested: str
    reason: str
    retries: int
    parts: Sequence[RequestPart]
    waits_for: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        return {
            "request": self.id,
            "status": self.status,
            "user": self.user,
            "since": self.since,
            "requested": self.requested,
            "failure_reason": self.reason,
            "retry_count": self.retries,
            "parts": [part.as_json() for part in self.parts],
            "waits_for": list(self.waits_for),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPage:
    """One page of a list, newest first. `next_place` is where the next page starts; None at the end."""

    rows: Sequence[RequestRow]
    next_place: Place | None
    unreadable: Sequence[str]


def read_page(
    db: Database, settings: Settings, wanted: RequestFilter, *, limit: int, before: Place | None = None, now: float
) -> RequestPage:
    """Return one page of requests: the open ones, and those of the last month that these workers have filled.

    Requests that VMPooler's own manager has closed are in no list of Redis: they are found only by their whole id.
    """
    reader = RequestReader(db)
    found: list[ListedRequest] = []
    if wanted.search and before is None:
        one = reader.read_one(wanted.search.encode(errors="surrogateescape"))
        if one and one.key is None and wanted.matches(one):
            found.append(one)
    lists = keys.OPEN_REQUESTS if wanted.statuses and OPEN_STATES.issuperset(wanted.statuses) else ALL_LISTS
    next_place: Place | None = None
    for examined, request in enumerate(reader.newest_first(lists, before), 1):
        if wanted.matches(request):
            if len(found) == limit:
                break
            found.append(request)
        next_place = request.place
        if examined == MAX_EXAMINED:
            break
    else:
        next_place = None
    return RequestPage(rows=_rows(reader, settings, found, now), next_place=next_place, unreadable=reader.unreadable)


def read_row(db: Database, settings: Settings, request_id: str, now: float) -> RequestRow | None:
    """Return one request by its id; None if Redis has none."""
    reader = RequestReader(db)
    found = reader.read_one(request_id.encode(errors="surrogateescape"))
    return _rows(reader, settings, [found], now)[0] if found else None


def status_of(request: ListedRequest) -> str:
    """Return the final status, or the stage of an open request."""
    if request.status in set(RequestStatus):
        return request.status
    return str(RequestStage.FILLING if request.key == keys.PROCESSING_REQUESTS else RequestStage.WAITING)


def wanted_by(request: ListedRequest) -> tuple[Wanted, ...]:
    """Return what the request asks for; nothing if that cannot be read."""
    try:
        return parse_requested(request.requested or "")
    except ValueError:
        return ()


def _rows(reader: RequestReader, settings: Settings, found: Sequence[ListedRequest], now: float) -> list[RequestRow]:
    if not found:
        return []
    filling = [status_of(request) == RequestStage.FILLING for request in found]
    wanted = [wanted_by(request) for request in found]
    parts = reader.read_parts([(r.place.id, w, f) for r, w, f in zip(found, wanted, filling, strict=True)])
    needed = {part.wanted.pool for one, of in zip(filling, parts, strict=True) if one for part in of if part.queued}
    obstacles = _obstacles(reader.db, settings, needed, now) if needed else None
    return [
        RequestRow(
            id=readable(request.place.id),
            status=status_of(request),
            user=request.user,
            since=request.place.since or None,
            requested=readable((request.requested or "").encode(errors="surrogateescape")),
            reason=request.reason,
            retries=request.retries,
            parts=parts_of,
            waits_for=list(_waits_for(settings, request, parts_of, obstacles)),
        )
        for request, parts_of in zip(found, parts, strict=True)
    ]


def _waits_for(
    settings: Settings, request: ListedRequest, parts: Sequence[RequestPart], obstacles: Obstacles | None
) -> Iterator[str]:
    status = status_of(request)
    if status in OPEN_STATES:
        none = Obstacles(by_pool={}, has_free_slots=True, max_clones=0)
        yield from waits_for(RequestStage(status), parts, obstacles or none, manages=settings.config.manage_pools)


def _obstacles(db: Database, settings: Settings, needed: Collection[str], now: float) -> Obstacles:
    """Return what keeps clones of these pools, for requests, from starting now."""
    pools = [pool for name in sorted(needed) if (pool := settings.pool(name))]
    providers = {one.name for one in breakers.suspended_providers(db, settings.providers) if one.suspended_until > now}
    by_pool = {
        pool.name: f"provider {provider} is suspended"
        for pool in pools
        if (provider := settings.provider_of(pool)) in providers
    }
    if settings.config.manage_pools:
        waiting = breakers.read_waiting_pools(db, [pool.name for pool in pools], now)
        by_pool |= {pool: f"pool {pool} is suspended" for pool in waiting.difference(by_pool)}
        by_pool |= {pool: pause.text(pool) for pool, pause in pauses.read_paused(db).items()}
    max_clones = settings.config.ondemand_clone_limit
    return Obstacles(by_pool=by_pool, has_free_slots=count_clones(db) < max_clones, max_clones=max_clones)
