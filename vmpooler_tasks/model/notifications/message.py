"""A notification as a value, and as the JSON that a webhook and a command get (docs/notifications.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vmpooler_tasks.model.health.explanation import HealthReason, explain, runbook_path
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.timestamps import iso_utc

SCHEMA_VERSION = 1
"""Version of the JSON. A new field leaves it as it is; a changed or removed one raises it."""


class TargetType(StrEnum):
    """What receives notifications."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    ALERTMANAGER = "alertmanager"
    COMMAND = "command"


class Event(StrEnum):
    """Why a notification is sent."""

    STATUS_CHANGED = "status_changed"
    REMINDER = "reminder"
    """The status is as bad as before. Only Alertmanager gets it: it ends an alert that nobody repeats."""
    TEST = "test"


class NotificationResult(StrEnum):
    """What became of an attempt to send a notification; a counter each."""

    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"
    """It was too old, or too many were waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """The health status at one moment, and the status of which the targets know.

    `since`: since when the status differs, `epoch`: when the notification was made; both by the clock of Redis.
    `redis`: the address of the database, without a login, which distinguishes installations. `web`: where the page is,
    None if nobody configured it.
    """

    id: str
    event: Event
    status: Status
    previous: Status
    since: float
    epoch: float
    reasons: tuple[HealthReason, ...]
    redis: str
    web: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "version": SCHEMA_VERSION,
            "id": self.id,
            "event": str(self.event),
            "status": str(self.status),
            "previous_status": str(self.previous),
            "since": iso_utc(self.since),
            "time": iso_utc(self.epoch),
            "summary": self.summary(),
            "redis": self.redis,
            "reasons": [self._reason_json(reason) for reason in self.reasons],
            "links": self.links(),
        }

    def summary(self) -> str:
        """Return one sentence: the status, the status before, and the worst reason."""
        if self.event is Event.TEST:
            return f"This is a test. VMPooler is {self.status}"
        text = f"VMPooler is {self.status}"
        if self.previous != self.status:
            text += f" (before: {self.previous})"
        if self.reasons:
            text += f": {explain(self.reasons[0])[0]}"
            text += f", and {len(self.reasons) - 1} more" if len(self.reasons) > 1 else ""
        return text

    def links(self) -> Mapping[str, str]:
        """Return the addresses of the page and the runbooks; none if nobody configured where the page is."""
        return {"page": self.address("/"), "runbooks": self.address("/runbooks")} if self.web else {}

    def address(self, path: str) -> str:
        """Return the address of a path on the page, "" if nobody configured where the page is."""
        return f"{self.web.rstrip('/')}{path}" if self.web else ""

    def _reason_json(self, reason: HealthReason) -> dict[str, Any]:
        found, remedy = explain(reason)
        texts = {"found": found, "remedy": remedy}
        return {**reason.as_json(), **texts, **({"runbook": self.runbook(reason)} if self.web else {})}

    def runbook(self, reason: HealthReason) -> str:
        """Return the address of a reason's runbook, "" if nobody configured where the page is."""
        return self.address(runbook_path(reason.code))
