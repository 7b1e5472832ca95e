"""The purge: what it would do, and doing it."""

import threading
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.purge import cycle as job
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.web.api.deadletters import audited
from vmpooler_tasks.web.api.parameters import Name, PurgeBody, PurgedQueue
from vmpooler_tasks.web.api.responses import CHANGING, READING, PurgeResponse, problems
from vmpooler_tasks.web.permissions import Operator, Reader
from vmpooler_tasks.web.site import Here, Site

router = APIRouter(prefix="/api/v1/queue/purge", tags=["purge"])

MOST_ENTRIES = 500

_one_at_a_time = threading.Lock()

DryRun = Annotated[bool, Query(json_schema_extra={"enum": [True]})]
Pools = Annotated[list[Name], Query(max_length=100, default_factory=list)]
Queues = Annotated[list[PurgedQueue], Query(max_length=5, default_factory=list)]


@router.get("", summary="What a purge would do now", responses={**READING, **problems(404)})
def plan(
    site: Here,
    who: Reader,
    pool: Pools,
    queue: Queues,
    dry_run: DryRun = True,
) -> PurgeResponse:
    if not dry_run:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "dry_run: a GET changes nothing; POST to purge")
    return _carried_out(site, PurgeOptions(dry_run=True, pools=pool, queues=queue, keep_entries=True, who=audited(who)))


@router.post("", summary="Purge now", responses={**CHANGING, **problems(404)})
def purge(
    site: Here,
    who: Operator,
    body: PurgeBody | None = None,
    dry_run: Annotated[bool | None, Query(description="stands above the body's")] = None,
) -> PurgeResponse:
    """The answer comes when it is done. One cycle runs at a time, whoever asks: a second one says `skipped`."""
    body = body or PurgeBody()
    order = PurgeOptions(
        dry_run=body.dry_run if dry_run is None else dry_run,
        force=body.force,
        pools=body.pools,
        queues=body.queues,
        keep_entries=True,
        who=audited(who),
        why=body.why,
    )
    return _carried_out(site, order)


def _carried_out(site: Site, order: PurgeOptions) -> PurgeResponse:
    if not _one_at_a_time.acquire(timeout=1):
        busy = "this server is at a purge already"
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, busy, {"Retry-After": "5"})
    try:
        report = job.run(site.db, site.settings, site.clock, order)
    except InvalidInputError as error:  # all else about an order has been looked at: a pool is not known
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error.args[0])) from error
    finally:
        _one_at_a_time.release()
    told = report.as_json()
    entries = told["entries"]
    left_out = max(len(entries) - MOST_ENTRIES, 0)
    return PurgeResponse.model_validate({**told, "entries": entries[:MOST_ENTRIES], "entries_left_out": left_out})
