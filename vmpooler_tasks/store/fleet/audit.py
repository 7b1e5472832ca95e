"""Who redrove, deleted or purged what, when and why: a capped stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.arguments import field_words
from vmpooler_tasks.store.redis.connection import Database

MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`id` in the stream, `at` in seconds since the epoch; `fields` as recorded (action, who, why, count, …)."""

    id: str
    at: float
    fields: Mapping[str, str]


def trail_words(trail: Mapping[str, Any]) -> list[str]:
    """Return field, value, field, value, … of an entry, for a script that records it; absent values are left out."""
    return [str(word) for word in field_words(trail)]


def read_newest(db: Database, limit: int, before: str | None = None) -> list[AuditEntry]:
    """Return the newest entries, or those older than the entry with the id `before`. Raises WrongTypeError."""
    if before and not any(map(int, before.split("-"))):  # Redis returns an error for 0-0
        return []
    with db.translated_errors(keys.AUDIT):
        found = db.client.xrevrange(keys.AUDIT, max=f"({before}" if before else "+", count=limit)
    return [
        AuditEntry(
            stream_id.decode(),
            int(stream_id.split(b"-")[0]) / 1000,
            {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in fields.items()},
        )
        for stream_id, fields in found
    ]
