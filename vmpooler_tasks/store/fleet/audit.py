"""Who redrove, deleted or purged what, when and why: a capped stream."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vmpooler_tasks.store import fleet_keys
from vmpooler_tasks.store.redis.arguments import field_words
from vmpooler_tasks.store.redis.connection import Database

MAX_ENTRIES = 10_000

AUDIT_PAGE = 500
"""Entries that one round trip of a search reads."""

OPERATION = "operation"
"""The field that the entries of one action share if it took several steps: a search joins them to one."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`id` in the stream, `at` in seconds since the epoch; `fields` as recorded (action, who, why, count, …)."""

    id: str
    at: float
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Accepts an entry that meets every condition that is set. Texts are parts of a name, upper and lower case equal.

    Times are seconds since the epoch.
    """

    who: str = ""
    action: str = ""
    since: float | None = None
    until: float | None = None

    def accepts(self, entry: AuditEntry) -> bool:
        """Return whether the entry meets the conditions. `search` reads only what meets those of time."""
        conditions = (("who", self.who), ("action", self.action))
        return all(part.casefold() in entry.fields.get(name, "").casefold() for name, part in conditions)


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, newest first. `next_cursor` selects the following page; None on the last."""

    entries: Sequence[AuditEntry]
    next_cursor: str | None


def record(db: Database, trail: Mapping[str, Any]) -> None:
    """Add an entry, for an action that no script carries out. Raises WrongTypeError."""
    with db.translated_errors(fleet_keys.AUDIT):
        words = trail_words(trail)
        fields: dict[Any, Any] = dict(zip(words[::2], words[1::2], strict=True))
        db.client.xadd(fleet_keys.AUDIT, fields, maxlen=MAX_ENTRIES, approximate=True)


def search(db: Database, wanted: AuditFilter, limit: int, before: str | None = None) -> AuditPage:
    """Return up to `limit` entries that the filter accepts, or those older than the entry with the id `before`.

    The entries of one operation are one. Raises WrongTypeError.
    """
    entries: dict[str, AuditEntry] = {}
    for entry in _newest_first(db, wanted, before):
        if not wanted.accepts(entry):
            continue
        operation = entry.fields.get(OPERATION, entry.id)
        if operation in entries:
            entries[operation] = _joined(entries[operation], entry)
        elif len(entries) == limit:
            return AuditPage(list(entries.values()), min(entries.values(), key=_place).id)
        else:
            entries[operation] = entry
    return AuditPage(list(entries.values()), None)


def _place(entry: AuditEntry) -> tuple[int, int]:
    millisecond, _, number = entry.id.partition("-")
    return int(millisecond), int(number)


def _joined(newer: AuditEntry, older: AuditEntry) -> AuditEntry:
    """Return one entry for two steps of an operation: with the sum of their counts, and the id of the older."""
    fields = {**older.fields, **newer.fields}
    counts = [one.fields.get("count", "0") for one in (newer, older)]
    fields["count"] = str(sum(int(count) for count in counts if count.isdecimal()))
    queues = {queue for one in (older, newer) for queue in one.fields.get("queue", "").split(", ") if queue}
    return replace(newer, id=older.id, fields=fields | ({"queue": ", ".join(sorted(queues))} if queues else {}))


def _newest_first(db: Database, wanted: AuditFilter, before: str | None) -> Iterator[AuditEntry]:
    newest = "+" if wanted.until is None else str(int(wanted.until * 1000))
    oldest = "-" if wanted.since is None else str(int(wanted.since * 1000))
    if before and not any(map(int, before.split("-"))):  # Redis returns an error for (0-0
        return
    if before and (wanted.until is None or _milliseconds(before) <= int(newest)):
        newest = f"({before}"
    while True:
        with db.translated_errors(fleet_keys.AUDIT):
            page = [_entry(*found) for found in db.client.xrevrange(fleet_keys.AUDIT, newest, oldest, count=AUDIT_PAGE)]
        yield from page
        if len(page) < AUDIT_PAGE:
            return
        newest = f"({page[-1].id}"


def _milliseconds(stream_id: str) -> int:
    return int(stream_id.partition("-")[0])


def _entry(stream_id: bytes, fields: Mapping[bytes, bytes]) -> AuditEntry:
    texts = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in fields.items()}
    return AuditEntry(stream_id.decode(), _milliseconds(stream_id.decode()) / 1000, texts)


def trail_words(trail: Mapping[str, Any]) -> list[str]:
    """Return field, value, field, value, … of an entry, for a script that records it; absent values are left out."""
    return [str(word) for word in field_words(trail)]


def read_newest(db: Database, limit: int) -> list[AuditEntry]:
    """Return the newest entries as they were recorded, each step on its own. Raises WrongTypeError."""
    with db.translated_errors(fleet_keys.AUDIT):
        return [_entry(*found) for found in db.client.xrevrange(fleet_keys.AUDIT, count=limit)]
