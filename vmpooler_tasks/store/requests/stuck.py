"""Stuck on-demand requests: nobody fills them. A purge finds and fails them."""

from vmpooler_tasks.model.requests import RequestStatus, parse_requested
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.vmpooler import queues

SCAN_COUNT = 1000
"""Requests that one round trip reads."""

CLOSED = frozenset(status.encode() for status in RequestStatus)


def older_than(db: Database, key: bytes, epoch: float) -> dict[bytes, float]:
    """Return the open requests of this set (waiting, or being filled) that were created before `epoch`.

    The result maps a request to the epoch of its creation, oldest first. Closed requests are skipped, however many
    there are. Raise WrongTypeError.
    """
    found: dict[bytes, float] = {}
    for _, page in db.stream(lambda cursor: ("ZSCAN", key, cursor, "COUNT", SCAN_COUNT)):
        old = {name: since for name, since in zip(page[::2], map(float, page[1::2]), strict=True) if since < epoch}
        found |= {name: old[name] for name in _open_ones(db, list(old))}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _open_ones(db: Database, names: list[bytes]) -> list[bytes]:
    """Return the requests without a final status. Missing or unreadable hashes count as open: `fail` handles them."""
    if not names:
        return []
    statuses = queues.read_fields(db, [keys.request(name) for name in names], b"status")
    return [name for name, (status,) in zip(names, statuses, strict=True) if status not in CLOSED]


def is_open(db: Database, request: bytes) -> bool:
    """Return True if `fail` would fail the request now. Raise WrongTypeError."""
    return db.call("HGET", keys.request(request), "status") not in CLOSED


def fail(db: Database, request: bytes, reason: str, keep_seconds: float) -> bool:
    """Fail the request. Return False if it was closed meanwhile. Raise WrongTypeError."""
    return bool(
        db.run(
            "requests/fail",
            [
                keys.request(request),
                keys.WAITING_REQUESTS,
                keys.PROCESSING_REQUESTS,
                keys.COUNTERS,
                *_delivered_keys(db, request),
            ],
            [request, reason, int(keep_seconds)],
        )
    )


def _delivered_keys(db: Database, request: bytes) -> list[bytes]:
    text = db.call("HGET", keys.request(request), "requested") or b""
    try:
        wanted = parse_requested(text.decode(errors="surrogateescape"))
    except ValueError:
        return []
    return [keys.delivered(request, part.alias, part.pool) for part in wanted]
