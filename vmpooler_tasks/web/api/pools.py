"""One pool over HTTP: everything about it, and the orders pause, drain, resume, retry, keep, confirm."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path
from pydantic import BaseModel, Field

from vmpooler_tasks.jobs.pools.control import Operator as PoolOperator
from vmpooler_tasks.jobs.pools.control import OrderReport, PoolControl
from vmpooler_tasks.jobs.pools.overview import PoolRow, read_details
from vmpooler_tasks.model.pools.pause import PoolAction
from vmpooler_tasks.web.api.deadletters import audited
from vmpooler_tasks.web.api.parameters import StrictModel, Why
from vmpooler_tasks.web.api.responses import CHANGING, READING, problems
from vmpooler_tasks.web.limits.requests import Searching
from vmpooler_tasks.web.permissions import Operator, Reader
from vmpooler_tasks.web.problems import unknown_is_404
from vmpooler_tasks.web.site import Here

router = APIRouter(prefix="/api/v1/queue", tags=["pools"])

ORDERING = {**CHANGING, **problems(404)}
"""The error responses: 404 for an unknown name, 409 where `manage_pools` is off."""

PoolName = Annotated[str, Path(min_length=1, max_length=500, description="the name of a pool, not an alias")]
ProviderName = Annotated[str, Path(min_length=1, max_length=500)]


class OrderBody(StrictModel):
    why: Why | None = None


class OrderResponse(BaseModel):
    """The effect of an order on one pool or provider."""

    pool: str | None = None
    provider: str | None = None
    action: PoolAction
    changed: bool = Field(description="false if it was in that state before; the audit then has no entry")
    text: str = Field(description="the effect in words")
    hindered_by: list[str] = Field(description="what keeps clones from starting all the same, in words")
    moved: int = Field(description="VMs that a drain moved to completed at once")
    taken_back: int = Field(description="clones that no worker had started, and that were taken back at once")


class PoolVmItem(BaseModel):
    """A VM. `since`: when it entered its queue, null if its metadata does not say that."""

    vm: str
    since: float | None
    template: str
    host: str
    request: str
    user: str


class PoolQueueItem(BaseModel):
    queue: str
    total: int
    readable: bool = Field(description="false if the key is of another type than expected")
    vms: list[PoolVmItem] = Field(description="the oldest 200 of the first 5,000 VMs")
    left_out: int


class PoolSettingItem(BaseModel):
    name: str
    configured: Any
    override: str | None = Field(description="what VMPooler's API has set instead")
    effective: Any


class PoolDetailsResponse(BaseModel):
    state: PoolRow
    aliases: list[str]
    queues: list[PoolQueueItem]
    settings: list[PoolSettingItem]
    known_template: str | None = Field(description="the template that the pool's VMs were last made from")
    reset: bool = Field(description="whether a reset is requested through VMPooler's API, and not done yet")


def _control(site: Here, who: Operator, body: OrderBody | None = None) -> PoolControl:
    operator = PoolOperator(who=audited(who), why=body.why if body else None)
    return PoolControl(site.db, site.settings, site.clock, operator)


Control = Annotated[PoolControl, Depends(_control)]


def _known_pool(control: Control, pool: PoolName) -> str:
    """Return the name of the pool. Raise HTTPException 404 for an unknown name or an alias."""
    with unknown_is_404():
        found = control.find([pool])
    if pool not in found:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"{pool!r} is an alias of {', '.join(found)}: name one of them")
    return pool


KnownPool = Annotated[str, Depends(_known_pool)]


@router.get(
    "/pools/{pool}",
    summary="One pool: its VMs by state, its settings and overrides",
    responses={**READING, **problems(404)},
)
def show_pool(site: Here, _: Reader, _turn: Searching, pool: PoolName) -> PoolDetailsResponse:
    def read() -> PoolDetailsResponse:
        with unknown_is_404():
            details = read_details(site.db, site.settings, pool, site.clock())
        return PoolDetailsResponse.model_validate(details.as_json())

    found: PoolDetailsResponse = site.pools.get(pool, read)
    return found


@router.post("/pools/{pool}/pause", summary="Give a pool no new clones", responses=ORDERING)
def pause_pool(control: Control, pool: KnownPool) -> OrderResponse:
    """Checks, lifetimes and destructions go on. On-demand requests for the pool wait."""
    return _response(control.pause(pool))


@router.post("/pools/{pool}/drain", summary="Pause a pool and destroy its unused VMs", responses=ORDERING)
def drain_pool(control: Control, pool: KnownPool) -> OrderResponse:
    """Pending and ready VMs go to completed, now and at each inspection. Running VMs stay with their users."""
    return _response(control.drain(pool))


@router.post("/pools/{pool}/resume", summary="End the pause of a pool", responses=ORDERING)
def resume_pool(control: Control, pool: KnownPool) -> OrderResponse:
    return _response(control.resume(pool))


@router.post("/pools/{pool}/keep", summary="Keep the VMs of a pool that left the configuration", responses=ORDERING)
def keep_pool(control: Control, pool: KnownPool) -> OrderResponse:
    """Without it, they are drained after `removed_pool_grace`. `resume` ends it."""
    return _response(control.keep(pool))


@router.post("/pools/{pool}/retry", summary="Let one clone try a suspended pool now", responses=ORDERING)
def retry_pool(control: Control, pool: KnownPool) -> OrderResponse:
    """This overrules neither a pause nor the refusal beside another pool manager: see `hindered_by`."""
    return _response(control.retry_pool(pool))


@router.post("/pools/{pool}/confirm", summary="Release the brake of a pool once", responses=ORDERING)
def confirm_pool(control: Control, pool: KnownPool) -> OrderResponse:
    """The strays and missing VMs that the brake holds are completed and destroyed. More than these engage it again."""
    return _response(control.confirm(pool))


@router.post("/providers/{provider}/retry", summary="Let one clone try a suspended provider now", responses=ORDERING)
def retry_provider(control: Control, provider: ProviderName) -> OrderResponse:
    """This overrules neither a pause nor the refusal beside another pool manager: see `hindered_by`."""
    with unknown_is_404():
        name = control.find_provider(provider)
    return _response(control.retry_provider(name))


def _response(report: OrderReport) -> OrderResponse:
    return OrderResponse.model_validate(report.as_json())
