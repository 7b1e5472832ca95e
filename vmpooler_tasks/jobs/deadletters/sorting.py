"""Pages of dead letters in the order of a column. All are read, and one page is kept in memory."""

import base64
import heapq
import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from vmpooler_tasks.jobs.deadletters.query import DeadLetterPage, find
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.store import Database

CURSOR_PREFIX = "s:"
"""The start of the cursor of a page that is sorted by a column."""

MAX_KEY = 200
"""Characters of a column that count for the order: a cursor stays short."""


class SortColumn(StrEnum):
    """The columns that dead letters can be sorted by."""

    TIME = "time"
    QUEUE = "queue"
    POOL = "pool"
    VM = "vm"
    ERROR = "error"


class SortOrder(StrEnum):
    """The order of a column."""

    ASCENDING = "asc"
    DESCENDING = "desc"


_TEXT_OF: Mapping[SortColumn, Callable[[StoredDeadLetter], str]] = {
    SortColumn.TIME: lambda _: "",
    SortColumn.QUEUE: lambda entry: str(entry.queue),
    SortColumn.POOL: lambda entry: entry.text("pool"),
    SortColumn.VM: lambda entry: entry.text("vm") or entry.text("task"),
    SortColumn.ERROR: lambda entry: f"{entry.text('error_class')} {entry.text('error_message')}",
}

_Key = tuple[str, float, tuple[str, str]]


def read_sorted_page(
    db: Database,
    wanted: DeadLetterFilter,
    column: SortColumn,
    order: SortOrder,
    *,
    limit: int,
    after: str | None = None,
) -> DeadLetterPage:
    """Return up to `limit` dead letters behind the cursor `after`. Equal ones come with the newest first.

    A cursor stays valid while dead letters are added and removed. Raises ValueError for a text that is not a cursor.
    """
    is_descending = order is SortOrder.DESCENDING
    sign = 1 if is_descending or column is SortColumn.TIME else -1  # within equal texts, the newest come first

    def key_of(entry: StoredDeadLetter) -> _Key:
        return _TEXT_OF[column](entry)[:MAX_KEY].casefold(), sign * entry.score, entry.tie_break

    entries = find(db, wanted)
    if after is not None:
        last = _read_cursor(after)
        entries = filter(lambda entry: (key_of(entry) < last) if is_descending else (key_of(entry) > last), entries)
    first = heapq.nlargest if is_descending else heapq.nsmallest
    found = first(limit + 1, entries, key=key_of)
    page = found[:limit]
    return DeadLetterPage(page, _cursor(key_of(page[-1])) if len(found) > limit else None)


def _cursor(key: _Key) -> str:
    text, score, tie_break = key
    raw = json.dumps([text, repr(score), *tie_break]).encode()
    return CURSOR_PREFIX + base64.urlsafe_b64encode(raw).decode()


def _read_cursor(text: str) -> _Key:
    raw: Any = json.loads(base64.urlsafe_b64decode(text.removeprefix(CURSOR_PREFIX)))
    if not text.startswith(CURSOR_PREFIX) or not isinstance(raw, list):
        raise ValueError("it is not the cursor of a sorted page")
    column_text, score, dead_letter_id, digest = map(str, raw)
    return column_text, float(score), (dead_letter_id, digest)
