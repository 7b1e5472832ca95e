"""The audit: who redrove, deleted and purged what, when and why."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.web.api.responses import READING, AuditPageResponse
from vmpooler_tasks.web.permissions import Reader
from vmpooler_tasks.web.site import Here

router = APIRouter(tags=["state"])


@router.get(
    "/api/v1/queue/audit", summary="Who redrove, deleted and purged what, newest entries first", responses=READING
)
def show_audit(
    site: Here,
    _: Reader,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(pattern=r"^\d{1,15}-\d{1,15}$")] = None,
) -> AuditPageResponse:
    found = audit.read_newest(site.db, limit, cursor)
    entries: list[Any] = [{**entry.fields, "at": entry.at} for entry in found]
    return AuditPageResponse(entries=entries, next_cursor=found[-1].id if len(found) == limit else None)
