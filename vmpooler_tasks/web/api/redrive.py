"""Running dead letters again: a preview, or a run that a worker carries out."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Response

from vmpooler_tasks.errors import InvalidInputError, StoreUnavailableError
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.eligibility import forecast
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.store.redrive.runs import Run
from vmpooler_tasks.tasks.enqueue import enqueue_redrive
from vmpooler_tasks.tasks.registry import OWN
from vmpooler_tasks.web.api.deadletters import audited
from vmpooler_tasks.web.api.parameters import RedriveOptions
from vmpooler_tasks.web.api.responses import CHANGING, READING, Cancelled, Preview, RunAnswer, Runs, problems
from vmpooler_tasks.web.permissions import Operator, Reader
from vmpooler_tasks.web.site import Here, Site

router = APIRouter(prefix="/api/v1/queue", tags=["redrive"])

RunId = Annotated[str, Path(min_length=1, max_length=64)]


@router.post(
    "/dlq/redrive",
    summary="Run dead letters again, or say what that would do",
    status_code=HTTPStatus.ACCEPTED,
    response_model=None,
    responses={
        200: {"model": Preview, "description": "the preview that `dry_run` asked for"},
        202: {"model": RunAnswer, "description": "the run, which a worker carries out"},
        **CHANGING,
    },
)
def begin(site: Here, who: Operator, order: RedriveOptions, response: Response) -> Preview | RunAnswer:
    """The letters are frozen now; with nothing to run, the answer is the preview."""
    with site.search():
        wanted, _ = query.without_unreadable(site.db, order.chosen())
        selection = job.select(site.db, wanted, order.limit)
        if order.dry_run or not selection.letters:
            response.status_code = HTTPStatus.OK
            expected = forecast(site.db, site.settings, OWN, selection.letters)
            return Preview.model_validate(selection.as_json(expected))
    run = job.start(
        site.db,
        selection,
        who=audited(who),
        why=order.why,
        rate=order.rate,
        max_failed_percent=order.max_failed_percent,
        now=site.clock(),
    )
    try:
        enqueue_redrive(site.settings, run)
    except StoreUnavailableError:
        job.cancel(site.db, run)  # nobody would ever go on with it
        raise
    return _answer(job.known(site.db, run))


@router.get("/redrives", summary="The runs of the last week, newest first", responses=READING)
def show_all(site: Here, _: Reader) -> Runs:
    return Runs(runs=[_answer(run) for run in runs.newest_first(site.db)])


@router.get("/redrives/{run}", summary="How a run stands", responses={**READING, **problems(404)})
def show_one(site: Here, _: Reader, run: RunId) -> RunAnswer:
    return _answer(_known(site, run))


@router.post("/redrives/{run}/cancel", summary="End a run", responses={**CHANGING, **problems(404)})
def cancel(site: Here, _: Operator, run: RunId) -> Cancelled:
    _known(site, run)
    return Cancelled(cancelled=job.cancel(site.db, run))


def _known(site: Site, run: str) -> Run:
    try:
        return job.known(site.db, run)
    except InvalidInputError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error.args[0])) from error


def _answer(run: Run) -> RunAnswer:
    return RunAnswer.model_validate({**job.as_json(run), "started": run.started})
