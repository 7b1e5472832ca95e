"""Cancel an open on-demand request."""

from collections.abc import Mapping, Sequence
from typing import Any

from vmpooler_tasks.model.names import readable
from vmpooler_tasks.model.requests import Cancellation, Wanted
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.requests.fulfilment import part_keys, part_words


def cancel(
    db: Database,
    request_id: bytes,
    wanted: Sequence[Wanted],
    *,
    reason: str,
    keep_seconds: float,
    trail: Mapping[str, Any],
) -> Cancellation:
    """Cancel the request if it is open, and record `trail` in the audit in the same step. Raise WrongTypeError."""
    words = audit.trail_words(trail)
    before, moved = db.run(
        "requests/cancel",
        [
            keys.request(request_id),
            keys.WAITING_REQUESTS,
            keys.PROCESSING_REQUESTS,
            keys.PENDING_ONDEMAND_CLONES,
            fleet_keys.AUDIT,
            *part_keys(request_id, wanted),
        ],
        [
            request_id,
            reason,
            int(keep_seconds),
            audit.MAX_ENTRIES,
            len(words),
            *words,
            *part_words(request_id, wanted),
        ],
    )
    return Cancellation(status_before=before.decode(), completed=tuple(map(readable, moved)))
