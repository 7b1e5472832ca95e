"""Run dead letters again: a preview, or a run that a worker carries out."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Response

from vmpooler_tasks.errors import InvalidInputError, StoreUnavailableError
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.redrive import edit
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.edit import Arguments, Edit, arguments_of, why_not_editable
from vmpooler_tasks.jobs.redrive.preview import preview
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.model.redrive import RedriveOutcome, RunOptions, RunState
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.store.redrive.runs import Run
from vmpooler_tasks.tasks.enqueue import enqueue_redrive, redrive_broker
from vmpooler_tasks.tasks.registry import OWN
from vmpooler_tasks.web.api.deadletters import DeadLetterId, audited, find_dead_letter
from vmpooler_tasks.web.api.parameters import EditBody, Epoch, RedriveBody, SearchText
from vmpooler_tasks.web.api.responses import (
    CHANGING,
    READING,
    CancellationResponse,
    EditFormResponse,
    EditResponse,
    PreviewResponse,
    RunListResponse,
    RunResponse,
    problems,
)
from vmpooler_tasks.web.limits.requests import Searching
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
def start(
    site: Here, who: Operator, _turn: Searching, body: RedriveBody, response: Response
) -> PreviewResponse | RunResponse:
    """Start a run of the dead letters that are selected now. With nothing to run, the response is the preview."""
    wanted, _ = query.without_unreadable(site.db, body.filter())
    selection = Selection(wanted=wanted, limit=body.limit, confirmed=body.confirm)
    if body.dry_run or selection.is_empty(site.db):
        response.status_code = HTTPStatus.OK
        return PreviewResponse.model_validate(preview(site.db, site.settings, OWN, selection).as_json())
    site.settings.refuse_if_observing(job.REDRIVING)
    options = RunOptions(who=audited(who), why=body.why, rate=body.rate, max_failed_percent=body.max_failed_percent)
    run = job.start(site.db, selection, options, site.clock())
    try:
        enqueue_redrive(site.settings, run)
    except StoreUnavailableError:
        job.cancel(site.db, run)  # no worker would ever continue it
        raise
    return _response(job.read_run(site.db, run))


@router.get(
    "/dlq/{dead_letter_id:path}/edit",
    summary="The arguments of a failed task, and which of them can be changed",
    responses={**READING, **problems(404)},
)
def show_arguments(site: Here, _: Reader, _turn: Searching, dead_letter_id: DeadLetterId) -> EditFormResponse:
    entry = find_dead_letter(site, dead_letter_id)
    reason, task = why_not_editable(entry, OWN), entry.text("task")
    if reason is not None:
        return EditFormResponse(editable=False, reason=reason, task=task, args=[], kwargs={}, arguments=[])
    with redrive_broker(site.settings) as broker:
        described = broker.describe_arguments(task)
    fields = {"editable": True, "reason": None, "task": task, "arguments": described}
    return EditFormResponse.model_validate({**fields, **arguments_of(entry).as_json()})


@router.post(
    "/dlq/{dead_letter_id:path}/edit",
    summary="Run a failed task again with changed arguments",
    status_code=HTTPStatus.ACCEPTED,
    responses={200: {"model": EditResponse, "description": "with `dry_run`"}, **CHANGING, **problems(404)},
)
def run_edited(
    site: Here, who: Operator, _turn: Searching, dead_letter_id: DeadLetterId, body: EditBody, response: Response
) -> EditResponse:
    """Run the task of a dead letter with other arguments, never for another VM or pool.

    The dead letter leaves in the step in which its task is sent. 409 if it left its queue meanwhile, 422 if its task is
    not editable or does not take these arguments.
    """
    entry = find_dead_letter(site, dead_letter_id)
    after = Arguments(body.args, body.kwargs)
    with redrive_broker(site.settings) as broker:
        if body.dry_run:
            response.status_code = HTTPStatus.OK
            edit.refuse(site.db, site.settings, broker, entry, after)
        else:
            order = Edit(arguments=after, who=audited(who), why=body.why, at=site.clock())
            outcome = edit.redrive_edited(site.db, site.settings, broker, entry, order)
            if outcome is RedriveOutcome.GONE:
                raise HTTPException(HTTPStatus.CONFLICT, "the dead letter left its queue meanwhile: nothing was run")
    return EditResponse(dry_run=body.dry_run, task=entry.text("task"))


@router.get("/redrives", summary="The runs of the last week, newest first", responses=READING)
def show_all(
    site: Here,
    _: Reader,
    _turn: Searching,
    who: Annotated[SearchText, Query(description="part of a name")] = "",
    state: Annotated[RunState | None, Query()] = None,
    since: Annotated[Epoch | None, Query(description="only those that started since then")] = None,
) -> RunListResponse:
    return RunListResponse(
        runs=[
            _response(run)
            for run in runs.newest_first(site.db)
            if who.casefold() in run.who.casefold()
            and state in (None, run.state)
            and (since is None or run.started >= since)
        ]
    )


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
