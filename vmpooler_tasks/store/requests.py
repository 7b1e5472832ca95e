"""On-demand requests, which VMPooler's API server writes."""

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.connection import Database

MOST_AT_ONCE = 1000


def older_than(db: Database, epoch: float) -> list[tuple[bytes, float]]:
    """(request, epoch of its making) of those that wait or are being filled since before then, oldest first.

    A thousand at most; the rest is found again by the next cycle. Raises WrongTypeError.
    """
    found: dict[bytes, float] = {}
    for key in (keys.WAITING_REQUESTS, keys.PROCESSING_REQUESTS):
        with db.translated_errors():
            found |= db.client.zrange(
                key.decode(), "-inf", f"({epoch}", byscore=True, withscores=True, offset=0, num=MOST_AT_ONCE
            )
    return sorted(found.items(), key=lambda item: item[1])[:MOST_AT_ONCE]


def fail(db: Database, request: bytes, reason: str, keep_seconds: float) -> bool:
    """False if the request got an answer meanwhile."""
    return bool(
        db.run(
            "fail_request",
            [keys.request(request), keys.WAITING_REQUESTS, keys.PROCESSING_REQUESTS, keys.COUNTERS],
            [request, reason, int(keep_seconds)],
        )
    )
