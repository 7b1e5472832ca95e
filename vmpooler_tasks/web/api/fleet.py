"""The schedule of beat, and the audit: who did what, when and why."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query

from vmpooler_tasks.store.fleet import audit, schedule
from vmpooler_tasks.store.fleet.audit import AuditFilter
from vmpooler_tasks.store.redis.numbers import finite
from vmpooler_tasks.tasks.celery.configuration import SCHEDULE_ENTRIES, ScheduleSpec
from vmpooler_tasks.tasks.enqueue import enqueue_task
from vmpooler_tasks.tasks.registry import PURGE
from vmpooler_tasks.web.api.deadletters import audited
from vmpooler_tasks.web.api.parameters import AuditCursor, Epoch, RunNowBody, SearchText
from vmpooler_tasks.web.api.responses import (
    CHANGING,
    READING,
    AuditPageResponse,
    RunNowResponse,
    ScheduleItem,
    ScheduleResponse,
    problems,
)
from vmpooler_tasks.web.limits.requests import Searching
from vmpooler_tasks.web.permissions import Operator, Reader
from vmpooler_tasks.web.site import Here, Site

router = APIRouter(prefix="/api/v1/queue", tags=["state"])


@router.get("/audit", summary="Who did what, newest entries first", responses=READING)
def show_audit(
    site: Here,
    _: Reader,
    _turn: Searching,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: AuditCursor = None,
    who: Annotated[SearchText, Query(description="part of a name")] = "",
    action: Annotated[SearchText, Query(description="part of an action")] = "",
    since: Annotated[Epoch | None, Query(description="seconds since the epoch")] = None,
    until: Annotated[Epoch | None, Query(description="seconds since the epoch")] = None,
) -> AuditPageResponse:
    """Return the entries that meet every condition. An action in several steps, such as a large deletion, is one."""
    wanted = AuditFilter(who=who, action=action, since=since, until=until)
    found = audit.search(site.db, wanted, limit, cursor)
    entries: list[Any] = [{**entry.fields, "at": entry.at} for entry in found.entries]
    return AuditPageResponse(entries=entries, next_cursor=found.next_cursor)


@router.get("/schedule", summary="The schedule of beat: last and next run of each entry", responses=READING)
def show_schedule(site: Here, _: Reader) -> ScheduleResponse:
    last_ticks = schedule.read_last_ticks(site.db)
    now = site.clock()
    return ScheduleResponse(
        at=now, entries=[_item(site, entry, finite(last_ticks.get(entry.name)), now) for entry in SCHEDULE_ENTRIES]
    )


@router.post(
    "/schedule/{name}/run",
    summary="Run an entry of the schedule now",
    status_code=HTTPStatus.ACCEPTED,
    responses={**CHANGING, **problems(404)},
)
def run_now(
    site: Here, who: Operator, name: Annotated[str, Path(max_length=100)], body: RunNowBody | None = None
) -> RunNowResponse:
    """Send the task of the entry to the workers, besides its schedule. 409 if the entry is switched off."""
    entry = next((one for one in SCHEDULE_ENTRIES if one.name == name), None)
    if entry is None:
        known = ", ".join(one.name for one in SCHEDULE_ENTRIES)
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no entry {name!r} in the schedule; there are {known}")
    if not _is_on(site, entry):
        raise HTTPException(HTTPStatus.CONFLICT, f"{name} is switched off ({entry.switch}: false)")
    why = body.why if body else None
    arguments = {"who": audited(who), "why": why} if entry.task == PURGE else {}
    task_id = enqueue_task(site.settings, entry.task, arguments)
    audit.record(site.db, {"action": "run now", "who": audited(who), "why": why, "entry": name, "task_id": task_id})
    return RunNowResponse(name=name, task=entry.task, task_id=task_id)


def _is_on(site: Site, entry: ScheduleSpec) -> bool:
    return bool(getattr(site.settings.config, entry.switch))


def _item(site: Site, entry: ScheduleSpec, last_run: float | None, now: float) -> ScheduleItem:
    interval, is_on = float(getattr(site.settings.config, entry.interval)), _is_on(site, entry)
    next_run = (now if last_run is None else last_run + interval) if is_on else None
    return ScheduleItem(
        name=entry.name,
        task=entry.task,
        interval_seconds=interval,
        enabled=is_on,
        switch=entry.switch,
        last_run=last_run,
        next_run=next_run,
    )
