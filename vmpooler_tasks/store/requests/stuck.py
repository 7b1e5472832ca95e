"""On-demand requests that nobody fills: found and failed by a purge."""

from vmpooler_tasks.model.requests import parse_requested
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.vmpooler import queues

PAGE = 1000
"""Requests looked at per round trip."""

ANSWERED = (b"ready", b"failed", b"deleted")


def older_than(db: Database, key: bytes, epoch: float) -> dict[bytes, float]:
    """Request → epoch of its making, of those that wait (or are filled, as `key` says) since before then, oldest first.

    Answered ones are left out; their number, whatever it is, hides none of the others. Raises WrongTypeError.
    """
    found: dict[bytes, float] = {}
    for _, page in db.stream(lambda cursor: ("ZSCAN", key, cursor, "COUNT", PAGE)):
        old = {name: since for name, since in zip(page[::2], map(float, page[1::2]), strict=True) if since < epoch}
        found |= {name: old[name] for name in _unanswered(db, list(old))}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _unanswered(db: Database, names: list[bytes]) -> list[bytes]:
    """Also those whose hash is missing or is none: what becomes of them is for `fail` to say."""
    if not names:
        return []
    statuses = queues.read_fields(db, [keys.request(name) for name in names], b"status")
    return [name for name, (status,) in zip(names, statuses, strict=True) if status not in ANSWERED]


def is_open(db: Database, request: bytes) -> bool:
    """Whether `fail` would fail it now. Raises WrongTypeError."""
    return db.call("HGET", keys.request(request), "status") not in ANSWERED


def fail(db: Database, request: bytes, reason: str, keep_seconds: float) -> bool:
    """False if the request got an answer meanwhile. Raises WrongTypeError."""
    return bool(
        db.run(
            "requests/fail",
            [
                keys.request(request),
                keys.WAITING_REQUESTS,
                keys.PROCESSING_REQUESTS,
                keys.COUNTERS,
                *_delivered(db, request),
            ],
            [request, reason, int(keep_seconds)],
        )
    )


def _delivered(db: Database, request: bytes) -> list[bytes]:
    """The keys of what was delivered to it."""
    text = db.call("HGET", keys.request(request), "requested") or b""
    try:
        wanted = parse_requested(text.decode(errors="surrogateescape"))
    except ValueError:
        return []
    return [keys.delivered(request, part.alias, part.pool) for part in wanted]
