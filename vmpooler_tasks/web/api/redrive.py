"""Run dead letters again: a preview, or a run that a worker carries out."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Response

from vmpooler_tasks.errors import InvalidInputError, StoreUnavailableError
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.preview import preview
from vmpooler_tasks.model.redrive import RunOptions
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.store.redrive.runs import Run
from vmpooler_tasks.tasks.enqueue import enqueue_redrive
from vmpooler_tasks.tasks.registry import OWN
from vmpooler_tasks.web.api.deadletters import audited
from vmpooler_tasks.web.api.parameters import RedriveBody
from vmpooler_tasks.web.api.responses import (
    CHANGING,
    READING,
    CancellationResponse,
    PreviewResponse,
    RunListResponse,
    RunResponse,
    problems,
)
from vmpooler_tasks.web.permissions import Operator, Reader
from vmpooler_tasks.web.site import Here, Site

router = APIRouter(prefix="/api/v1/queue", tags=["redrive"])

RunId = Annotated[str, Path(min_length=1, max_length=64)]


@router.post(
    "/dlq/redrive",
    summary="Run dead letters again, or preview that",
    status_code=HTTPStatus.ACCEPTED,
    response_model=None,
    responses={
        200: {"model": PreviewResponse, "description": "the preview, with `dry_run` or if nothing is selected"},
        202: {"model": RunResponse, "description": "the run, which a worker carries out"},
        **CHANGING,
    },
)
def start(site: Here, who: Operator, body: RedriveBody, response: Response) -> PreviewResponse | RunResponse:
    """Start a run of the dead letters that are selected now. With nothing to run, the response is the preview."""
    with site.search():
        wanted, _ = query.without_unreadable(site.db, body.filter())
        selection = job.select(site.db, wanted, body.limit)
        if body.dry_run or not selection.dead_letters:
            response.status_code = HTTPStatus.OK
            return PreviewResponse.model_validate(preview(site.db, site.settings, OWN, selection).as_json())
    options = RunOptions(who=audited(who), why=body.why, rate=body.rate, max_failed_percent=body.max_failed_percent)
    run = job.start(site.db, selection, options, site.clock())
    try:
        enqueue_redrive(site.settings, run)
    except StoreUnavailableError:
        job.cancel(site.db, run)  # no worker would ever continue it
        raise
    return _response(job.read_run(site.db, run))


@router.get("/redrives", summary="The runs of the last week, newest first", responses=READING)
def show_all(site: Here, _: Reader) -> RunListResponse:
    return RunListResponse(runs=[_response(run) for run in runs.newest_first(site.db)])


@router.get("/redrives/{run}", summary="The progress of a run", responses={**READING, **problems(404)})
def show_one(site: Here, _: Reader, run: RunId) -> RunResponse:
    return _response(_read(site, run))


@router.post("/redrives/{run}/cancel", summary="End a run", responses={**CHANGING, **problems(404)})
def cancel(site: Here, _: Operator, run: RunId) -> CancellationResponse:
    _read(site, run)
    return CancellationResponse(cancelled=job.cancel(site.db, run))


def _read(site: Site, run: str) -> Run:
    try:
        return job.read_run(site.db, run)
    except InvalidInputError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error.args[0])) from error


def _response(run: Run) -> RunResponse:
    return RunResponse.model_validate({**job.as_json(run), "started": run.started})
