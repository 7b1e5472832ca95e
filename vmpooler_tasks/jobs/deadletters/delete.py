"""Delete dead letters."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.deadletters.delete import delete as delete_batch
from vmpooler_tasks.store.fleet.audit import OPERATION
from vmpooler_tasks.store.redis.chunks import chunks

DELETING = "deleting dead letters"
"""What a process that may only observe refuses."""
OPERATION_LENGTH = 12


def delete(db: Database, dead_letters: Sequence[StoredDeadLetter], *, who: str, why: str | None) -> int:
    """Delete these dead letters and return how many were still there.

    Each batch adds an entry to the audit in its own step. With several, they name the operation that they belong to.
    """
    batches = [
        (queue, batch)
        for queue in DeadLetterQueue
        for batch in chunks([entry.raw for entry in dead_letters if entry.queue is queue])
    ]
    operation = uuid.uuid4().hex[:OPERATION_LENGTH] if len(batches) > 1 else None
    trail: Mapping[str, Any] = {"action": "delete", "who": who, "why": why, OPERATION: operation}
    return sum(delete_batch(db, queue, batch, {**trail, "queue": queue}) for queue, batch in batches)
