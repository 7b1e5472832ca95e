"""The health status and its history."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from vmpooler_tasks.jobs.health.history import points
from vmpooler_tasks.jobs.health.read import read_report
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.model.health.explanation import explain, runbook_path
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.web.api.responses import PROBLEM, READING, HealthDocument, HistoryResponse
from vmpooler_tasks.web.limits.requests import Searching
from vmpooler_tasks.web.permissions import Reader
from vmpooler_tasks.web.site import Here

router = APIRouter(tags=["state"])

HEALTH_MEDIA_TYPE = "application/health+json"
HOUR = 3600.0
WEEK_HOURS = 7 * 24


HEALTH_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": HealthDocument},
    503: {**PROBLEM, "model": HealthDocument, "description": "unhealthy or stale; a problem if Redis does not reply"},
}


class HealthResponse(JSONResponse):
    media_type = HEALTH_MEDIA_TYPE


@router.get(
    "/health",
    summary="The health status with its reasons",
    response_class=HealthResponse,
    responses={**READING, **HEALTH_RESPONSES},
)
@router.get(
    "/api/v1/queue/health",
    summary="The health status with its reasons",
    response_class=HealthResponse,
    responses={**READING, **HEALTH_RESPONSES},
)
def show_health(site: Here, _: Reader) -> HealthResponse:
    """200 for healthy and degraded, 503 for unhealthy. A status that is not renewed is unhealthy."""
    report = read_report(site.db, site.settings, site.clock, site.broker)
    is_unhealthy = report.assessment.status is Status.UNHEALTHY
    return HealthResponse(
        health_json(report, site.clock()), HTTPStatus.SERVICE_UNAVAILABLE if is_unhealthy else HTTPStatus.OK
    )


def health_json(report: HealthReport, now: float) -> dict[str, Any]:
    """Return the report as JSON, each reason with its texts and the address of its runbook."""
    reasons = []
    for reason in report.assessment.reasons:
        found, remedy = explain(reason, now)
        texts = {"found": found, "remedy": remedy, "runbook": runbook_path(reason.code)}
        reasons.append({**reason.as_json(), **texts})
    return {**report.as_json(), "reasons": reasons}


@router.get("/api/v1/queue/history", summary="The recorded checks, oldest first", responses=READING)
def show_history(
    site: Here,
    _: Reader,
    _turn: Searching,
    hours: Annotated[float, Query(gt=0, le=WEEK_HOURS)] = 24,
    points_wanted: Annotated[int, Query(alias="points", ge=2, le=2000)] = 240,
) -> HistoryResponse:
    """Each point stands for several checks: it has the worst status and all reasons of them."""

    def make() -> HistoryResponse:
        return HistoryResponse.model_validate(
            {"points": [point.as_json() for point in points(site.db, site.clock() - hours * HOUR, points_wanted)]}
        )

    found: HistoryResponse = site.histories.get((hours, points_wanted), make)
    return found
