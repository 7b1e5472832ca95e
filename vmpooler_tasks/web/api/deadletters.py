"""Dead letters: list, show, group, delete."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query

from vmpooler_tasks.jobs.deadletters import query as job
from vmpooler_tasks.jobs.deadletters.delete import delete
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.store.deadletters.read import revision
from vmpooler_tasks.web.api.parameters import Letters, Order, Pages, Why
from vmpooler_tasks.web.api.responses import (
    CHANGING,
    READING,
    DeadLetterPage,
    Deleted,
    ErrorGroup,
    Letter,
    Stats,
    problems,
)
from vmpooler_tasks.web.identity import Identity
from vmpooler_tasks.web.permissions import Operator, Reader
from vmpooler_tasks.web.site import Here, Site

router = APIRouter(prefix="/api/v1/queue/dlq", tags=["dead letters"])

LONG = ("traceback", "args", "kwargs")
"""Left out of lists."""

LetterId = Annotated[str, Path(min_length=1, max_length=200)]


@router.get("", summary="Dead letters, newest first", responses=READING)
def show_page(site: Here, _: Reader, query: Pages) -> DeadLetterPage:
    with site.search():
        wanted, bad = job.without_unreadable(site.db, query.chosen())
        try:
            page = job.read_page(site.db, wanted, query.limit, query.cursor)
        except ValueError as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "cursor: is none of ours") from error
    letters = [Letter(**_without(LONG, letter.as_json())) for letter in page.entries]
    return DeadLetterPage(letters=letters, next_cursor=page.next_cursor, unreadable=bad)


@router.get("/stats", summary="Dead letters by error, most frequent first", responses=READING)
def show_groups(site: Here, _: Reader, query: Letters) -> Stats:
    def count() -> Stats:
        wanted, _ = job.without_unreadable(site.db, query.chosen())
        groups = [ErrorGroup(**group.as_json()) for group in job.group_by_error(site.db, wanted)]
        return Stats(total=sum(group.count for group in groups), groups=groups)

    with site.search():
        # Who has just seen that letters came or went is not told of those before.
        found: Stats = site.groups.get((revision(site.db), query.model_dump_json()), count)
    return found


@router.post("/delete", summary="Delete dead letters", responses=CHANGING)
def delete_some(site: Here, who: Operator, order: Order) -> Deleted:
    with site.search():
        wanted, _ = job.without_unreadable(site.db, order.chosen())
        letters = list(job.find(site.db, wanted))
    deleted = 0 if order.dry_run else delete(site.db, letters, who=audited(who), why=order.why)
    return Deleted(dry_run=order.dry_run, selected=len(letters), deleted=deleted)


@router.get("/{dead_letter_id}", summary="All of one dead letter", responses={**READING, **problems(404)})
def show_one(site: Here, _: Reader, dead_letter_id: LetterId) -> Letter:
    with site.search():
        return Letter(**_one(site, dead_letter_id).as_json())


@router.delete("/{dead_letter_id}", summary="Delete one dead letter", responses={**CHANGING, **problems(404)})
def delete_one(
    site: Here, who: Operator, dead_letter_id: LetterId, why: Annotated[Why | None, Query()] = None
) -> Deleted:
    with site.search():
        letter = _one(site, dead_letter_id)
    return Deleted(selected=1, deleted=delete(site.db, [letter], who=audited(who), why=why))


def audited(who: Identity) -> str:
    """As the audit names somebody: by what they logged in as, and where."""
    return f"{who.name}@web"


def _one(site: Site, dead_letter_id: str) -> StoredDeadLetter:
    wanted, _ = job.without_unreadable(site.db, DeadLetterFilter(ids=frozenset([dead_letter_id])))
    for letter in job.find(site.db, wanted):
        return letter
    raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such dead letter, or not any more")


def _without(names: tuple[str, ...], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}
