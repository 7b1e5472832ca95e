"""The purge over HTTP: what it would do, and doing it."""

import threading
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.purge import cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.web.api.deadletters import audited
from vmpooler_tasks.web.api.parameters import Name, PurgeBody
from vmpooler_tasks.web.api.responses import CHANGING, READING, PurgeResponse, problems
from vmpooler_tasks.web.limits.requests import Searching
from vmpooler_tasks.web.permissions import Operator, Reader
from vmpooler_tasks.web.site import Here, Site

router = APIRouter(prefix="/api/v1/queue/purge", tags=["purge"])

MAX_SHOWN_ENTRIES = 500

_one_at_a_time = threading.Lock()

DryRun = Annotated[bool, Query(json_schema_extra={"enum": [True]})]
Pools = Annotated[list[Name], Query(max_length=100, default_factory=list)]
Queues = Annotated[list[PurgeTarget], Query(max_length=len(PurgeTarget), default_factory=list)]


@router.get("", summary="What a purge would do now", responses={**READING, **problems(404)})
def plan(
    site: Here,
    who: Reader,
    _turn: Searching,
    pool: Pools,
    queue: Queues,
    dry_run: DryRun = True,
) -> PurgeResponse:
    if not dry_run:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "dry_run: a GET changes nothing; POST to purge")
    return _run(site, PurgeOptions(dry_run=True, pools=pool, queues=queue, keep_entries=True, who=audited(who)))


@router.post("", summary="Purge now", responses={**CHANGING, **problems(404)})
def purge(
    site: Here,
    who: Operator,
    body: PurgeBody | None = None,
    dry_run: Annotated[bool | None, Query(description="overrides the body's")] = None,
) -> PurgeResponse:
    """Run a purge and return its report when it is done.

    One cycle runs at a time, in whatever process: a second one does nothing and says so in `skipped`.
    """
    body = body or PurgeBody()
    options = PurgeOptions(
        dry_run=body.dry_run if dry_run is None else dry_run,
        force=body.force,
        pools=body.pools,
        queues=body.queues,
        keep_entries=True,
        who=audited(who),
        why=body.why,
    )
    return _run(site, options)


def _run(site: Site, options: PurgeOptions) -> PurgeResponse:
    if not _one_at_a_time.acquire(timeout=1):
        busy = "this server runs a purge already"
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, busy, {"Retry-After": "5"})
    try:
        report = cycle.run(site.db, site.settings, site.clock, options)
    except InvalidInputError as error:  # everything else is validated already: a pool is not known
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error.args[0])) from error
    finally:
        _one_at_a_time.release()
    found = report.as_json()
    entries = found["entries"]
    limited = {"entries": entries[:MAX_SHOWN_ENTRIES], "entries_left_out": max(len(entries) - MAX_SHOWN_ENTRIES, 0)}
    return PurgeResponse.model_validate({**found, **limited})
