"""On-demand requests, which VMPooler's API server writes."""

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.connection import Database

MOST_AT_ONCE = 1000


ANSWERED = (b"ready", b"failed", b"deleted")


def older_than(db: Database, key: bytes, epoch: float) -> dict[bytes, float]:
    """Request → epoch of its making, of those that wait (or are filled, as `key` says) since before then, oldest first.

    A thousand at most; the rest is found again by the next cycle. Raises WrongTypeError.
    """
    with db.translated_errors():
        found = db.client.zrange(
            key.decode(), "-inf", f"({epoch}", byscore=True, withscores=True, offset=0, num=MOST_AT_ONCE
        )
    return dict(found)


def is_open(db: Database, request: bytes) -> bool:
    """Whether `fail` would fail it now. Raises WrongTypeError."""
    return db.call("HGET", keys.request(request), "status") not in ANSWERED


def fail(db: Database, request: bytes, reason: str, keep_seconds: float) -> bool:
    """False if the request got an answer meanwhile. Raises WrongTypeError."""
    return bool(
        db.run(
            "fail_request",
            [keys.request(request), keys.WAITING_REQUESTS, keys.PROCESSING_REQUESTS, keys.COUNTERS],
            [request, reason, int(keep_seconds)],
        )
    )
