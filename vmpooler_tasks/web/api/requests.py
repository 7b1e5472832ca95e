"""On-demand requests: list, show, cancel."""

from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, Field

from vmpooler_tasks.jobs.requests import listing
from vmpooler_tasks.jobs.requests.cancel import cancel
from vmpooler_tasks.jobs.requests.history import read_history
from vmpooler_tasks.jobs.requests.listing import RequestFilter
from vmpooler_tasks.model.requests import RequestStage, RequestStatus
from vmpooler_tasks.store.requests.listing import Place
from vmpooler_tasks.web.api.deadletters import audited
from vmpooler_tasks.web.api.parameters import Name, SearchText, StrictModel, Why
from vmpooler_tasks.web.api.responses import CHANGING, READING, problems
from vmpooler_tasks.web.limits.requests import Searching
from vmpooler_tasks.web.permissions import Operator, Reader
from vmpooler_tasks.web.problems import unknown_is_404
from vmpooler_tasks.web.site import Here

router = APIRouter(prefix="/api/v1/queue/requests", tags=["requests"])

REQUEST_CURSOR = r"^\d{1,15}(\.\d{1,9})?(e\+\d{1,2})?:[A-Za-z0-9%._~/-]{0,600}$"
"""The epoch of a request's creation, and its id, quoted as in an address."""

RequestId = Annotated[str, Path(min_length=1, max_length=200)]
Statuses = Annotated[tuple[RequestStage | RequestStatus, ...], Field(max_length=5)]


class RequestQuery(StrictModel):
    """The requests that meet every condition given. `status` may come several times."""

    status: Statuses = ()
    user: Name | None = None
    pool: Name | None = Field(None, description="the name of a pool, or the alias that the user typed")
    search: SearchText | None = Field(None, description="text in the id, the user, an alias or a pool")
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(pattern=REQUEST_CURSOR)] | None = Field(
        None, description="the `next_cursor` of the last page"
    )


class RequestPartItem(BaseModel):
    """The VMs of one name in the request. `queued`: clones that have not started; `cloning`: those that have."""

    name: str
    pool: str
    count: int
    delivered: int
    queued: int
    cloning: int


class RequestItem(BaseModel):
    request: str
    status: RequestStage | RequestStatus
    user: str = Field(description="the user whose token made it; empty if VMPooler recorded none")
    since: float | None
    requested: str
    failure_reason: str
    retry_count: int
    parts: list[RequestPartItem]
    waits_for: list[str] = Field(description="what an open request waits for, in words")


class RequestPageResponse(BaseModel):
    requests: list[RequestItem]
    next_cursor: str | None
    unreadable: list[str] = Field(description="keys that are left out, since they are of another type than expected")


class RequestEventItem(BaseModel):
    at: float
    what: str
    vm: str
    pool: str
    detail: str


class RequestResponse(RequestItem):
    """One request with its history, oldest event first, and the names of the VMs that it got."""

    delivered: dict[str, list[str]]
    events: list[RequestEventItem]


class RequestCancellationResponse(BaseModel):
    cancelled: bool
    vms_completed: list[str] = Field(description="the request's VMs that were moved to completed, to be destroyed")


@router.get("", summary="On-demand requests, newest first", responses=READING)
def show_page(site: Here, _: Reader, _turn: Searching, query: Annotated[RequestQuery, Query()]) -> RequestPageResponse:
    """Open requests, and those of the last month that these workers have closed.

    A request that VMPooler's own manager has closed is found only by its whole id, as `search`.
    """
    wanted = RequestFilter(
        statuses=tuple(map(str, query.status)), user=query.user, pool=query.pool, search=query.search or None
    )
    page = listing.read_page(
        site.db, site.settings, wanted, limit=query.limit, before=_place(query.cursor), now=site.clock()
    )
    return RequestPageResponse(
        requests=[RequestItem.model_validate(row.as_json()) for row in page.rows],
        next_cursor=_cursor(page.next_place),
        unreadable=list(page.unreadable),
    )


@router.get("/{request_id}", summary="One request with its history", responses={**READING, **problems(404)})
def show_one(site: Here, _: Reader, _turn: Searching, request_id: RequestId) -> RequestResponse:
    with unknown_is_404():
        history = read_history(site.db, request_id)
    row = listing.read_row(site.db, site.settings, request_id, site.clock())
    known = row.as_json() if row else {"user": "", "since": None, "parts": [], "waits_for": []}
    return RequestResponse.model_validate({**known, **history.as_json()})


@router.delete("/{request_id}", summary="Cancel an open request", responses={**CHANGING, **problems(404)})
def cancel_one(
    site: Here, who: Operator, request_id: RequestId, why: Annotated[Why | None, Query()] = None
) -> RequestCancellationResponse:
    """Set its status to deleted, as VMPooler's API does, and move its VMs to completed. 409 if it is closed already."""
    result = cancel(site.db, site.settings, request_id, who=audited(who), why=why)
    if result.status_before == "gone":
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no request {request_id!r}")
    if not result.is_cancelled:
        raise HTTPException(HTTPStatus.CONFLICT, f"the request is closed already: its status is {result.status_before}")
    return RequestCancellationResponse(cancelled=True, vms_completed=list(result.completed))


def _cursor(place: Place | None) -> str | None:
    return None if place is None else f"{place.since!r}:{quote_from_bytes(place.id)}"


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    since, _, name = cursor.partition(":")
    return Place(float(since), unquote_to_bytes(name))
