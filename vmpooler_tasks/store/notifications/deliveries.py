"""Take the notifications that wait one after another, so that each is sent at least once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.health.parsing import parse_reasons
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.notifications.message import Event, Notification, NotificationResult
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.notifications.state import ALERTS, LAST, parse_alerts
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import count, finite

LEASE_SECONDS = 90
"""How long a process may take to send one notification. After that another process sends it again."""

MAX_WAIT_SECONDS = 1200
"""No target waits longer than this for its next attempt, or for the end of one."""

ATTEMPTS = "attempts:"
"""Prefix of the field with the attempts in a row that failed."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notification claimed for one target. `notification` is None if it cannot be read.

    `failed_attempts`: in a row, so far. `active_alerts`: those that an Alertmanager knows. `claimed_at`: by the clock
    of Redis.
    """

    target: str
    raw: bytes
    notification: Notification | None
    failed_attempts: int
    active_alerts: Mapping[str, float]
    claimed_at: float


def claim(db: Database, targets: Sequence[str]) -> Delivery | None:
    """Claim the next notification that is due for one of these targets; None if none is due."""
    reply = db.run(
        "notifications/claim",
        [keys.NOTIFY_DUE, keys.NOTIFY_STATE, *map(keys.notifications, targets)],
        [LEASE_SECONDS, ATTEMPTS, ALERTS, MAX_WAIT_SECONDS, *targets],
    )
    if not reply:
        return None
    target, raw, attempts, alerts, now = reply
    return Delivery(
        target.decode(),
        raw,
        _parse(raw, db.address),
        count(attempts),
        parse_alerts(alerts),
        float(now),
    )


def finish(
    db: Database,
    delivery: Delivery,
    result: NotificationResult,
    *,
    error: str = "",
    retry_in: float | None = None,
    active_alerts: Mapping[str, float] | None = None,
) -> None:
    """Record how the attempt ended. With `retry_in` the notification is tried again after so many seconds."""
    db.run(
        "notifications/finish",
        [keys.NOTIFY_DUE, keys.NOTIFY_STATE, keys.COUNTERS, keys.notifications(delivery.target)],
        [
            delivery.target,
            delivery.raw,
            str(result),
            int(retry_in is not None),
            retry_in or 0,
            ATTEMPTS + delivery.target,
            LAST + delivery.target,
            error,
            ALERTS + delivery.target,
            "" if active_alerts is None else json.dumps(active_alerts),
        ],
    )


def _parse(raw: bytes, redis: str) -> Notification | None:
    try:
        found: Any = json.loads(raw)
        since, epoch = finite(found["since"]), finite(found["epoch"])
        if since is None or epoch is None:
            return None
        return Notification(
            id=str(found["id"]),
            event=Event(found["event"]),
            status=Status[found["status"].upper()],
            previous={str(status): status for status in Status}.get(found["previous"], Status.HEALTHY),
            since=since,
            epoch=epoch,
            reasons=parse_reasons(found["reasons"]),
            redis=redis,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
