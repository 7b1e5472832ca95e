"""Settings that notify a listener, a status that a test sets, and what is noticed of it."""

import time
from dataclasses import replace
from typing import Any

from tests.support.http_listener import HttpListener
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.notifications.observe import observe_status
from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.explanation import default_reason
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.notifications.message import Event
from vmpooler_tasks.store import Database, keys

DLQ_SIZE = replace(default_reason(ReasonCode.DLQ_SIZE, 1200, 1000), severity=Status.UNHEALTHY)
EMPTY_POOL = default_reason(ReasonCode.EMPTY_POOL, 1000, 900, pool="a")

TOKEN = "T0KEN-of-slack"


def notifying(*targets: dict[str, Any], after: float = 0, web: str | None = None) -> Settings:
    return Settings.model_validate(
        {
            "config": {"health_check_enabled": True, "notify_after": after},
            "notify": {"targets": targets, "web": web},
        }
    )


def webhook(listener: HttpListener, **others: Any) -> dict[str, Any]:
    return {"type": "webhook", "url": f"{listener.url}/hook?token={TOKEN}", **others}


def observe(db: Database, settings: Settings) -> Event | None:
    return observe_status(db, settings, system_clock)


def make_due(db: Database, name: str = "webhook") -> None:
    """Move the clock: the next attempt is due."""
    db.call("ZADD", keys.NOTIFY_DUE, 0, name)


def counted(db: Database, result: str, name: str = "webhook") -> int:
    return int(db.call("HGET", keys.COUNTERS, f"notifications:{result}:{name}") or 0)


def is_ahead(alert: dict[str, str]) -> bool:
    return alert["endsAt"] > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))


class ShownStatus:
    """What readers see; tests set it. How it comes about is the business of other tests."""

    def __init__(self) -> None:
        self.assessment = Assessment(Status.HEALTHY, ())

    def becomes(self, status: Status, *reasons: ReasonCode) -> None:
        made = {ReasonCode.DLQ_SIZE: DLQ_SIZE, ReasonCode.EMPTY_POOL: EMPTY_POOL}
        self.assessment = Assessment(status, tuple(made[code] for code in reasons))
