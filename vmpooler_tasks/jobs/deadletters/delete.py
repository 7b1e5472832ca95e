"""Delete dead letters."""

from collections.abc import Mapping, Sequence
from typing import Any

from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.deadletters.delete import delete as delete_batch
from vmpooler_tasks.store.redis.chunks import chunks

DELETING = "deleting dead letters"
"""What a process that may only observe refuses."""


def delete(db: Database, dead_letters: Sequence[StoredDeadLetter], *, who: str, why: str | None) -> int:
    """Delete these dead letters and return how many were still there. Each batch adds one entry to the audit."""
    deleted = 0
    for queue in DeadLetterQueue:
        members = [entry.raw for entry in dead_letters if entry.queue is queue]
        trail: Mapping[str, Any] = {"action": "delete", "who": who, "why": why, "queue": queue}
        for batch in chunks(members):
            deleted += delete_batch(db, queue, batch, trail)
    return deleted
