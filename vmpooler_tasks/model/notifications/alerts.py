"""A notification as alerts for Alertmanager's API, version 2: one alert for each reason.

Alertmanager ends an alert at its `endsAt`. A reminder moves that time on. A reason that has ended is sent once more,
with the time at which it ended.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vmpooler_tasks.model.health.explanation import HealthReason, explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.notifications.message import Event, Notification
from vmpooler_tasks.model.timestamps import iso_utc

ALERT_NAME = "VMPoolerHealth"
TEST_ALERT_NAME = "VMPoolerNotificationTest"

ALERT_SECONDS = 3600
"""How long an alert lasts without a reminder: if every process of this project is down, it is still shown."""

TEST_ALERT_SECONDS = 60

SEVERITIES = {Status.DEGRADED: "warning", Status.UNHEALTHY: "critical"}

_LABELS = ("pool", "queue", "provider", "host", "key")
"""The fields of a reason that distinguish alerts. Those that change while it lasts are annotations."""

ActiveAlerts = Mapping[str, float]
"""The alerts that Alertmanager knows: the labels as JSON → epoch of the start."""


def active_alerts(notification: Notification, known: ActiveAlerts) -> dict[str, float]:
    """Return the alerts that are active after this notification. A known one keeps its start."""
    labels = [_as_key(_labels(reason)) for reason in notification.reasons]
    return {key: known.get(key, notification.epoch) for key in labels}


def alerts(notification: Notification, known: ActiveAlerts) -> list[dict[str, Any]]:
    """Return the body of the request: an alert for each reason, and the end of each known alert without a reason."""
    if notification.event is Event.TEST:
        labels = {"alertname": TEST_ALERT_NAME, "severity": "none"}
        texts = {"summary": notification.summary()}
        return [_alert(notification, labels, (notification.epoch, notification.epoch + TEST_ALERT_SECONDS), texts)]
    return list(_changed_alerts(notification, known))


def _changed_alerts(notification: Notification, known: ActiveAlerts) -> Iterator[dict[str, Any]]:
    active = active_alerts(notification, known)
    for reason in notification.reasons:
        found, remedy = explain(reason)
        texts = {
            "summary": found,
            "description": remedy,
            "error": on_one_line(reason.error or ""),
            "runbook_url": notification.runbook(reason),
        }
        labels = _labels(reason)
        period = (active[_as_key(labels)], notification.epoch + ALERT_SECONDS)
        yield _alert(notification, labels, period, texts)
    for key in known.keys() - active.keys():
        yield _alert(notification, json.loads(key), (known[key], notification.epoch), {})


def _alert(
    notification: Notification,
    labels: Mapping[str, str],
    period: tuple[float, float],
    annotations: Mapping[str, str | None],
) -> dict[str, Any]:
    page = notification.address("/")
    return {
        "labels": dict(labels),
        "annotations": {name: text for name, text in annotations.items() if text},
        "startsAt": iso_utc(period[0]),
        "endsAt": iso_utc(period[1]),
        **({"generatorURL": page} if page else {}),
    }


def _labels(reason: HealthReason) -> dict[str, str]:
    about = {name: on_one_line(text) for name, text in reason.about().items() if name in _LABELS and text}
    return {
        "alertname": ALERT_NAME,
        "severity": SEVERITIES.get(reason.severity, "none"),
        "reason": on_one_line(reason.code),
        **about,
    }


def _as_key(labels: Mapping[str, str]) -> str:
    return json.dumps(labels, sort_keys=True)
