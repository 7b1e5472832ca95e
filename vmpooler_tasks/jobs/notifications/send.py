"""Send what is due: each notification at least once, in order for each target, tried again with backoff."""

import json
import logging
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.services import NotifyTarget
from vmpooler_tasks.errors import DeliveryError
from vmpooler_tasks.jobs.notifications import http
from vmpooler_tasks.jobs.notifications.command import run_command
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.notifications.alerts import active_alerts, alerts
from vmpooler_tasks.model.notifications.message import Event, Notification, NotificationResult, TargetType
from vmpooler_tasks.model.notifications.slack import slack_message
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.notifications import deliveries
from vmpooler_tasks.store.notifications.deliveries import Delivery

_log = logging.getLogger("vmpooler_tasks.notifications")

FIRST_RETRY_SECONDS = 5.0
LONGEST_RETRY_SECONDS = 600.0

MAX_AGE_SECONDS = 24 * 3600
"""An older notification is dropped: nobody needs to know of last week's status."""

ALERTS_PATH = "/api/v2/alerts"


def send_due(db: Database, settings: Settings) -> int:
    """Send all notifications that are due; return how many were delivered. A target that fails is tried later."""
    targets = {target.name: target for target in settings.notify.targets}
    delivered = 0
    while (delivery := deliveries.claim(db, list(targets))) is not None:
        delivered += _attempt(db, settings, targets[delivery.target], delivery)
    return delivered


def send_test(db: Database, settings: Settings, target: NotifyTarget, status: Status) -> None:
    """Send a test to one target, now and once. Raises DeliveryError."""
    now = time.time()
    notification = Notification(
        id=str(uuid.uuid4()),
        event=Event.TEST,
        status=status,
        previous=status,
        since=now,
        epoch=now,
        reasons=(),
        redis=db.address,
        web=settings.notify.web,
    )
    send(target, notification, {})


def _attempt(db: Database, settings: Settings, target: NotifyTarget, delivery: Delivery) -> bool:
    """Try one delivery and record its result. Return whether it was delivered."""
    notification = delivery.notification
    if notification is None or delivery.claimed_at - notification.epoch > MAX_AGE_SECONDS:
        _drop(db, target, delivery)
        return False
    notification = replace(notification, web=settings.notify.web)
    try:
        send(target, notification, delivery.active_alerts)
    except DeliveryError as error:
        _postpone(db, target, delivery, notification, str(error))
        return False
    known = active_alerts(notification, delivery.active_alerts) if target.type is TargetType.ALERTMANAGER else None
    deliveries.finish(db, delivery, NotificationResult.DELIVERED, active_alerts=known)
    level = logging.DEBUG if notification.event is Event.REMINDER else logging.INFO
    summary = on_one_line(notification.summary())
    _log.log(level, "[*] [notify] Notified %s: %s (id %s)", target.name, summary, notification.id)
    return True


def _drop(db: Database, target: NotifyTarget, delivery: Delivery) -> None:
    why = "it cannot be read" if delivery.notification is None else f"it is older than {MAX_AGE_SECONDS // 3600} hours"
    deliveries.finish(db, delivery, NotificationResult.DROPPED, error=why)
    _log.error("[!] [notify] Dropped a notification for %s: %s", target.name, why)


def _postpone(db: Database, target: NotifyTarget, delivery: Delivery, notification: Notification, why: str) -> None:
    delay = retry_delay(delivery.failed_attempts, random.random())  # noqa: S311 - jitter
    deliveries.finish(db, delivery, NotificationResult.FAILED, error=why, retry_in=delay)
    attempt = f"attempt {delivery.failed_attempts + 1}, next in {delay:.0f} s"
    _log.warning("[!] [notify] Could not notify %s: %s (%s; id %s)", target.name, why, attempt, notification.id)


def retry_delay(failed_attempts: int, share: float) -> float:
    """Return the seconds until the next attempt: doubled after each failure. `share` (0 to 1) spreads them."""
    longest = min(FIRST_RETRY_SECONDS * 2.0 ** min(failed_attempts, 20), LONGEST_RETRY_SECONDS)
    return longest * (0.75 + share / 4)


def send(target: NotifyTarget, notification: Notification, known: Mapping[str, float]) -> None:
    """Send a notification to one target, now and once. `known`: the alerts that it knows. Raises DeliveryError."""
    if target.type is TargetType.COMMAND:
        run_command(target.command, _json(notification.as_json()))
        return
    url = target.url.get_secret_value() if target.url else ""
    headers = {name: value.get_secret_value() for name, value in target.headers.items()}
    match target.type:
        case TargetType.SLACK:
            body: Any = slack_message(notification)
        case TargetType.ALERTMANAGER:
            url = url if url.rstrip("/").endswith(ALERTS_PATH) else url.rstrip("/") + ALERTS_PATH
            body = alerts(notification, known)
        case _:
            headers = {"Idempotency-Key": notification.id, **headers}
            body = notification.as_json()
    http.post(url, _json(body), headers)


def _json(body: Mapping[str, Any] | Sequence[Any]) -> bytes:
    return json.dumps(body).encode()
