"""The status of which the targets know, and how the last attempt to each target ended."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.notifications.message import Event, NotificationResult
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite
from vmpooler_tasks.store.redis.reads import Reads

MAX_QUEUED = 100
"""Notifications that wait for one target; the oldest are dropped first."""

WAITING_SECONDS = 25 * 3600
"""Longer than any notification is tried: a target that left the configuration leaves nothing behind."""

LAST, ALERTS = "last:", "alerts:"
"""Prefixes of fields: the last attempt to a target, and the alerts that an Alertmanager knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The status as readers see it now, and the id that a notification gets. `reasons` is JSON."""

    status: Status
    reasons: str
    id: str


@dataclass(frozen=True, slots=True)
class NotifiedTarget:
    """A target by its name. If `only_newest`, a new notification replaces those that wait, and it gets reminders."""

    name: str
    only_newest: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """What an observation led to; `dropped_for` are targets for which too many notifications were waiting."""

    event: Event | None
    dropped_for: Sequence[str]


@dataclass(frozen=True, slots=True)
class LastAttempt:
    """How the last attempt to a target ended, and how many notifications wait. `epoch`: None if there was none."""

    epoch: float | None
    result: NotificationResult | None
    error: str
    waiting: int


def observe(
    db: Database,
    seen: Observation,
    targets: Sequence[NotifiedTarget],
    must_hold_seconds: float,
    reminder_seconds: float,
) -> Observed:
    """Compare the status with the one of which the targets know; add notifications once it differed for long enough."""
    reply = db.run(
        "notifications/observe",
        [keys.NOTIFY_STATE, keys.NOTIFY_DUE, keys.COUNTERS, *(keys.notifications(target.name) for target in targets)],
        [
            str(seen.status),
            must_hold_seconds,
            reminder_seconds,
            seen.id,
            seen.reasons,
            MAX_QUEUED,
            WAITING_SECONDS,
            str(Status.HEALTHY),
            *(word for target in targets for word in (target.name, int(target.only_newest))),
        ],
    )
    event, *dropped = (word.decode(errors="replace") for word in reply)
    return Observed(Event(event) if event else None, dropped)


def record_known(db: Database, status: Status, alerts: Mapping[str, Mapping[str, float]]) -> None:
    """Record that the targets know of this status, and which further alerts those of Alertmanager have."""
    fields: dict[str, str] = {"status": str(status)}
    for target, active in alerts.items():
        field = ALERTS + target
        fields[field] = json.dumps({**parse_alerts(db.call("HGET", keys.NOTIFY_STATE, field) or b"{}"), **active})
    db.call("HSET", keys.NOTIFY_STATE, *(word for pair in fields.items() for word in pair))


def parse_alerts(raw: bytes) -> dict[str, float]:
    """Return the alerts that an Alertmanager knows: labels as JSON → epoch of the start. Leave out junk."""
    try:
        found = json.loads(raw)
        return {labels: float(start) for labels, start in found.items() if isinstance(json.loads(labels), dict)}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def read_last_attempts(db: Database, targets: Sequence[str]) -> dict[str, LastAttempt]:
    """Return how the last attempt to each of these targets ended."""
    reads = Reads()
    for target in targets:
        reads.add((LAST, target), "HGET", keys.NOTIFY_STATE, LAST + target)
        reads.add(target, "LLEN", keys.notifications(target))
    replies = reads.send(db)
    return {target: _last_attempt(replies.get((LAST, target)), replies.get(target, 0)) for target in targets}


def _last_attempt(raw: bytes | None, waiting: int) -> LastAttempt:
    try:
        found: Any = json.loads(raw or b"")
        return LastAttempt(
            finite(str(found["epoch"])), NotificationResult(found["result"]), str(found["error"]), waiting
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return LastAttempt(None, None, "", waiting)
