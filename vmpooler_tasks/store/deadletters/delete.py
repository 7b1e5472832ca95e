"""Delete the dead letters that an operator selected."""

from collections.abc import Mapping, Sequence
from typing import Any

from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis.connection import Database


def delete(db: Database, queue: DeadLetterQueue, members: Sequence[bytes], trail: Mapping[str, Any]) -> int:
    """Delete these members, record `trail` in the audit in the same step, and return how many were still there."""
    words = audit.trail_words(trail)
    return int(
        db.run(
            "deadletters/delete",
            [keys.dead_letters(queue), keys.COUNTERS, fleet_keys.AUDIT],
            [queue, audit.MAX_ENTRIES, len(words), *words, *members],
        )
    )
