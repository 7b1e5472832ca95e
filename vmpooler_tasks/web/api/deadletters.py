"""Dead letters: list, show, group, delete."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator

from vmpooler_tasks.jobs.deadletters import query as job
from vmpooler_tasks.jobs.deadletters.delete import DELETING, delete
from vmpooler_tasks.jobs.deadletters.export import LINES, ExportFormat
from vmpooler_tasks.jobs.deadletters.sorting import SortColumn, SortOrder, read_sorted_page
from vmpooler_tasks.jobs.redrive.edit import why_not_editable
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store.deadletters.read import revision
from vmpooler_tasks.tasks.registry import OWN
from vmpooler_tasks.web.api.parameters import DeadLetterPageQuery, DeleteBody, Exported, Filtered, Paged, Why
from vmpooler_tasks.web.api.responses import (
    CHANGING,
    READING,
    DeadLetterDetail,
    DeadLetterGroupItem,
    DeadLetterGroupsResponse,
    DeadLetterItem,
    DeadLetterPageResponse,
    DeletionResponse,
    problems,
)
from vmpooler_tasks.web.identity import Identity
from vmpooler_tasks.web.limits.requests import Searching
from vmpooler_tasks.web.permissions import Operator, Reader
from vmpooler_tasks.web.site import Here, Site

router = APIRouter(prefix="/api/v1/queue/dlq", tags=["dead letters"])

LONG = ("traceback", "args", "kwargs", "attempts")
"""Fields that lists leave out."""

MEDIA_TYPES = {ExportFormat.JSONL: "application/jsonl", ExportFormat.CSV: "text/csv; charset=utf-8"}

ENCODED = "~"
"""The start of an id in the hexadecimal digits of its UTF-8. Clients change a path with `/` or `..` in it."""


def decoded_id(text: str) -> str:
    """Return the id that a path names: the text itself, or the id that it holds in hexadecimal digits."""
    try:
        return bytes.fromhex(text.removeprefix(ENCODED)).decode() if text.startswith(ENCODED) else text
    except ValueError:
        return text


DeadLetterId = Annotated[
    str,
    Path(
        min_length=1, max_length=2000, description="`~` and the id in hexadecimal stands for an id with / or .. in it"
    ),
    AfterValidator(decoded_id),
]


@router.get("", summary="Dead letters, newest first unless sorted otherwise", responses=READING)
def show_page(site: Here, _: Reader, _turn: Searching, query: Paged) -> DeadLetterPageResponse:
    wanted, unreadable = job.without_unreadable(site.db, query.filter())
    try:
        page = _read_page(site, wanted, query)
    except ValueError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "cursor: is not a cursor of this API") from error
    items = [DeadLetterItem(**_without(LONG, entry.as_json())) for entry in page.entries]
    return DeadLetterPageResponse(letters=items, next_cursor=page.next_cursor, unreadable=unreadable)


def _read_page(site: Site, wanted: DeadLetterFilter, query: DeadLetterPageQuery) -> job.DeadLetterPage:
    """Return the page. Newest first needs only the page itself; any other order reads all dead letters."""
    if (query.sort, query.order) == (SortColumn.TIME, SortOrder.DESCENDING):
        return job.read_page(site.db, wanted, query.limit, query.cursor)
    return read_sorted_page(site.db, wanted, query.sort, query.order, limit=query.limit, after=query.cursor)


@router.get(
    "/export",
    summary="The dead letters of a filter as a file, newest first",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "one line of JSON for each dead letter, or a table with a heading",
            "content": {
                "application/jsonl": {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}},
            },
        },
        **READING,
    },
)
def export(site: Here, _: Reader, query: Exported) -> StreamingResponse:
    """Send all dead letters of the filter, one after another. Keys that are not sorted sets are left out."""
    wanted, _unreadable = job.without_unreadable(site.db, query.filter())
    lines = site.exports.limited(LINES[query.format](job.find(site.db, wanted)))
    name = f"dead-letters-{iso_utc(site.clock()).replace(':', '')}.{query.format}"
    return StreamingResponse(
        lines, media_type=MEDIA_TYPES[query.format], headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@router.get("/stats", summary="Dead letters by error, most frequent first", responses=READING)
def show_groups(site: Here, _: Reader, _turn: Searching, query: Filtered) -> DeadLetterGroupsResponse:
    def count() -> DeadLetterGroupsResponse:
        wanted, _ = job.without_unreadable(site.db, query.filter())
        groups = [DeadLetterGroupItem(**group.as_json()) for group in job.group_by_error(site.db, wanted)]
        return DeadLetterGroupsResponse(total=sum(group.count for group in groups), groups=groups)

    # The key changes with each dead letter that is added or removed, so that nobody gets groups from before.
    found: DeadLetterGroupsResponse = site.groups.get((revision(site.db), query.model_dump_json()), count)
    return found


@router.post("/delete", summary="Delete dead letters", responses=CHANGING)
def delete_some(site: Here, who: Operator, _turn: Searching, body: DeleteBody) -> DeletionResponse:
    wanted, _ = job.without_unreadable(site.db, body.filter())
    entries = list(job.find(site.db, wanted))
    if not body.dry_run:
        site.settings.refuse_if_observing(DELETING)
    deleted = 0 if body.dry_run else delete(site.db, entries, who=audited(who), why=body.why)
    return DeletionResponse(dry_run=body.dry_run, selected=len(entries), deleted=deleted)


@router.get("/{dead_letter_id:path}", summary="All of one dead letter", responses={**READING, **problems(404)})
def show_one(site: Here, _: Reader, _turn: Searching, dead_letter_id: DeadLetterId) -> DeadLetterDetail:
    entry = find_dead_letter(site, dead_letter_id)
    return DeadLetterDetail(**{**job.detail(entry), "editable": why_not_editable(entry, OWN) is None})


@router.delete("/{dead_letter_id:path}", summary="Delete one dead letter", responses={**CHANGING, **problems(404)})
def delete_one(
    site: Here,
    who: Operator,
    _turn: Searching,
    dead_letter_id: DeadLetterId,
    why: Annotated[Why | None, Query()] = None,
) -> DeletionResponse:
    site.settings.refuse_if_observing(DELETING)
    entry = find_dead_letter(site, dead_letter_id)
    return DeletionResponse(selected=1, deleted=delete(site.db, [entry], who=audited(who), why=why))


def audited(who: Identity) -> str:
    """Return the name of somebody in the audit: the name of the login, and that it was the web process."""
    return f"{who.name}@web"


def find_dead_letter(site: Site, dead_letter_id: str) -> StoredDeadLetter:
    """Return the dead letter. Raise HTTPException 404 if there is none."""
    wanted, _ = job.without_unreadable(site.db, DeadLetterFilter(ids=frozenset([dead_letter_id])))
    for entry in job.find(site.db, wanted):
        return entry
    raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such dead letter, or not any more")


def _without(names: tuple[str, ...], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}
