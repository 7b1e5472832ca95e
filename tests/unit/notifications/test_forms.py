"""What a webhook, Slack and Alertmanager get."""

import json

import pytest

from tests.support.hostile_names import HOSTILE_NAMES
from vmpooler_tasks.model.health.explanation import HealthReason, default_reason
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.notifications.alerts import ALERT_SECONDS, active_alerts, alerts
from vmpooler_tasks.model.notifications.message import Event, Notification
from vmpooler_tasks.model.notifications.slack import MAX_SHOWN, slack_message

NOW = 1_705_314_600.0
HOSTILE = "a<!channel> & <https://evil.example|click>\x1b[31m\n*b*"
DLQ = HealthReason(ReasonCode.DLQ_SIZE, Status.UNHEALTHY, 1200, 1000)
EMPTY = default_reason(ReasonCode.EMPTY_POOL, 1000, 900, pool="centos-7")


def notification(*reasons: HealthReason, status: Status = Status.UNHEALTHY, **fields: object) -> Notification:
    values: dict[str, object] = {
        "id": "1f2e",
        "event": Event.STATUS_CHANGED,
        "status": status,
        "previous": Status.HEALTHY,
        "since": NOW - 60,
        "epoch": NOW,
        "reasons": reasons,
        "redis": "redis://db:6379/0",
        **fields,
    }
    return Notification(**values)  # type: ignore[arg-type]


def test_the_json_has_the_documented_fields() -> None:
    assert notification(DLQ, EMPTY, web="https://vm.example.com/").as_json() == {
        "version": 1,
        "id": "1f2e",
        "event": "status_changed",
        "status": "unhealthy",
        "previous_status": "healthy",
        "since": "2024-01-15T10:29:00Z",
        "time": "2024-01-15T10:30:00Z",
        "summary": "VMPooler is unhealthy (before: healthy): 1200 dead letters, more than 1000, and 1 more",
        "redis": "redis://db:6379/0",
        "reasons": [
            {
                "code": "dlq_size",
                "severity": "unhealthy",
                "measured": 1200,
                "threshold": 1000,
                "pool": None,
                "found": "1200 dead letters, more than 1000",
                "remedy": "find the most frequent errors with `vmpooler-tasks dlq stats`",
                "runbook": "https://vm.example.com/runbooks#dlq_size",
            },
            {
                **EMPTY.as_json(),
                "found": notification(EMPTY).as_json()["reasons"][0]["found"],
                "remedy": notification(EMPTY).as_json()["reasons"][0]["remedy"],
                "runbook": "https://vm.example.com/runbooks#empty_pool",
            },
        ],
        "links": {"page": "https://vm.example.com/", "runbooks": "https://vm.example.com/runbooks"},
    }


def test_without_an_address_of_the_page_there_are_no_links() -> None:
    found = notification(DLQ).as_json()
    assert found["links"] == {}
    assert "runbook" not in found["reasons"][0]


def test_slack_gets_text_that_cannot_mention_or_link() -> None:
    hostile = default_reason(ReasonCode.EMPTY_POOL, 1000, 900, pool=HOSTILE)
    text = json.dumps(slack_message(notification(hostile, web="https://vm.example.com")), ensure_ascii=False)
    assert "<!channel>" not in text
    assert "<https://evil" not in text
    assert "&lt;!channel&gt;" in text
    assert "\\u001b" not in text
    assert "<https://vm.example.com/runbooks#empty_pool|runbook>" in text


def test_slack_gets_no_more_blocks_than_it_takes() -> None:
    message = slack_message(notification(*[EMPTY] * 70))
    assert len(message["blocks"]) == MAX_SHOWN + 3
    assert f"and {70 - MAX_SHOWN} more" in json.dumps(message)
    huge = default_reason(ReasonCode.EMPTY_POOL, 1000, 900, pool="<" * 10_000)
    for block in slack_message(notification(huge))["blocks"]:
        for part in block.get("elements", [block.get("text")]):
            assert 0 < len(part["text"]) <= 3000


def test_an_alert_for_each_reason() -> None:
    [first, second] = alerts(notification(DLQ, EMPTY, web="https://vm.example.com"), {})
    assert first["labels"] == {"alertname": "VMPoolerHealth", "severity": "critical", "reason": "dlq_size"}
    assert second["labels"] == {
        "alertname": "VMPoolerHealth",
        "severity": "warning" if EMPTY.severity is Status.DEGRADED else "critical",
        "reason": "empty_pool",
        "pool": "centos-7",
    }
    assert first["annotations"]["runbook_url"] == "https://vm.example.com/runbooks#dlq_size"
    assert first["startsAt"] == "2024-01-15T10:30:00Z"
    assert first["endsAt"] == "2024-01-15T11:30:00Z"
    assert ALERT_SECONDS == 3600


def test_an_alert_keeps_its_start_and_ends_with_its_reason() -> None:
    known = active_alerts(notification(DLQ, EMPTY), {})
    later = notification(EMPTY, event=Event.REMINDER, epoch=NOW + 60)
    [still, ended] = alerts(later, known)
    assert (still["labels"]["reason"], still["startsAt"]) == ("empty_pool", "2024-01-15T10:30:00Z")
    assert (ended["labels"]["reason"], ended["endsAt"]) == ("dlq_size", "2024-01-15T10:31:00Z")
    assert len(active_alerts(later, known)) == 1
    healthy = notification(status=Status.HEALTHY, epoch=NOW + 120)
    assert {alert["endsAt"] for alert in alerts(healthy, known)} == {"2024-01-15T10:32:00Z"}
    assert active_alerts(healthy, known) == {}


def test_a_test_does_not_end_alerts() -> None:
    [alert] = alerts(notification(event=Event.TEST), active_alerts(notification(DLQ), {}))
    assert alert["labels"]["alertname"] == "VMPoolerNotificationTest"
    assert alert["endsAt"] == "2024-01-15T10:31:00Z"


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_hostile_names_are_text_in_every_form(name: str) -> None:
    about = {"pool": name, "host": name, "provider": name, "key": name, "error": name}
    unknown = HealthReason(name, Status.DEGRADED, 1, 0, pool=name)
    found = notification(
        default_reason(ReasonCode.EMPTY_POOL, 1000, 900, **about), unknown, web="https://vm.example.com"
    )
    texts = found.as_json()
    shown = [texts["summary"], *(one[part] for one in texts["reasons"] for part in ("found", "remedy", "runbook"))]
    for alert in alerts(found, {}):
        shown += [*alert["labels"].values(), *alert["annotations"].values()]
        assert alert["annotations"]["runbook_url"].startswith("https://vm.example.com/runbooks#")
        assert not set("<>\"' ") & set(alert["annotations"]["runbook_url"])
    message = slack_message(found)
    for one in (block["text"] for block in message["blocks"] if "text" in block):
        assert (one["type"], one["verbatim"]) == ("mrkdwn", True), "Slack makes no links of its own"
        shown += one["text"].split("\n→ ")
    assert [text for text in shown if not text.isprintable()] == []
    links = json.dumps(message, ensure_ascii=False).split("<")[1:]
    assert all(link.startswith("https://vm.example.com") for link in links)
