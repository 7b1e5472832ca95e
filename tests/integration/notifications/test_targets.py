"""What a webhook, Slack, an Alertmanager and a command get."""

import json
import ssl
import sys
from pathlib import Path

import pytest
import trustme

from tests.support.http_listener import HttpListener, http_listener
from tests.support.listeners import closed, idle
from tests.support.notifications import TOKEN, ShownStatus, counted, is_ahead, make_due, notifying, observe, webhook
from tests.support.processes import until
from vmpooler_tasks.errors import DeliveryError
from vmpooler_tasks.jobs.notifications import http
from vmpooler_tasks.jobs.notifications.send import send_due
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.notifications.message import Event
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.notifications.state import read_last_attempts

pytestmark = pytest.mark.both_servers


def test_a_redirect_is_not_followed(
    db: Database, shown: ShownStatus, listener: HttpListener, caplog: pytest.LogCaptureFixture
) -> None:
    with http_listener() as elsewhere:
        listener.statuses, listener.location = [307], f"{elsewhere.url}/{TOKEN}"
        shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
        settings = notifying(webhook(listener))
        observe(db, settings)
        assert send_due(db, settings) == 0
        assert elsewhere.received == []
    assert "the server redirects (status 307)" in caplog.text
    assert TOKEN not in caplog.text


def test_no_proxy_of_the_environment_is_used(
    db: Database, shown: ShownStatus, listener: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed()}")
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    settings = notifying(webhook(listener))
    observe(db, settings)
    assert send_due(db, settings) == 1


def test_a_server_that_does_not_respond_is_given_up(
    db: Database, shown: ShownStatus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "SOCKET_SECONDS", 0.2)
    with idle() as port:
        settings = notifying({"type": "webhook", "url": f"http://127.0.0.1:{port}"})
        shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
        observe(db, settings)
        assert send_due(db, settings) == 0
    assert "no reply in time" in caplog.text


def test_a_server_that_keeps_the_connection_busy_is_given_up(
    listener: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.2)
    listener.hold.clear()
    with pytest.raises(DeliveryError):
        http.post(listener.url, b"{}", {})


def test_certificates_are_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with http_listener(tls=tls) as listener:
        url = listener.url.replace("http:", "https:")
        with pytest.raises(DeliveryError, match="the certificate is not valid"):
            http.post(url, b"{}", {})
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        http.post(url, b"{}", {})
        assert len(listener.received) == 1


def test_slack_gets_its_form(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying({"type": "slack", "url": f"{listener.url}/services/{TOKEN}"})
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    assert send_due(db, settings) == 1
    [request] = listener.received
    assert request.path == f"/services/{TOKEN}"
    assert request.body["text"].startswith("VMPooler is unhealthy (before: healthy)")
    assert request.body["blocks"]


def test_alertmanager_gets_starts_reminders_and_ends(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying({"type": "alertmanager", "url": listener.url})
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE, ReasonCode.EMPTY_POOL)
    observe(db, settings)
    assert send_due(db, settings) == 1
    assert observe(db, settings) is None, "not yet time for a reminder"
    db.call("HSET", keys.NOTIFY_STATE, "reminded", 0)
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    assert observe(db, settings) is Event.REMINDER
    assert send_due(db, settings) == 1
    shown.becomes(Status.HEALTHY)
    observe(db, settings)
    assert send_due(db, settings) == 1
    first, second, third = (
        {alert["labels"]["reason"]: alert["endsAt"] > alert["startsAt"] and is_ahead(alert) for alert in one.body}
        for one in listener.received
    )
    assert first == {"dlq_size": True, "empty_pool": True}
    assert second == {"dlq_size": True, "empty_pool": False}
    assert third == {"dlq_size": False}
    assert {one.path for one in listener.received} == {"/api/v2/alerts"}


def test_alertmanager_gets_only_the_newest_state(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying({"type": "alertmanager", "url": listener.url})
    listener.statuses = [503]
    for status, codes in ((Status.UNHEALTHY, [ReasonCode.DLQ_SIZE]), (Status.DEGRADED, [ReasonCode.EMPTY_POOL])):
        shown.becomes(status, *codes)
        observe(db, settings)
        make_due(db, "alertmanager")
        send_due(db, settings)
    assert [[alert["labels"]["reason"] for alert in one.body] for one in listener.received] == [
        ["dlq_size"],
        ["empty_pool"],
    ]


def test_a_command_gets_the_json_and_no_secret(
    db: Database, shown: ShownStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hidden@127.0.0.1/0")
    out = tmp_path / "out; touch $(x)"
    script = "import os, sys; open(sys.argv[1], 'w').write(sys.stdin.read() + '\\n' + repr(dict(os.environ)))"
    settings = notifying({"type": "command", "command": [sys.executable, "-c", script, str(out)]})
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    assert send_due(db, settings) == 1
    body, environment = out.read_text().split("\n")
    assert json.loads(body)["status"] == "unhealthy"
    assert "hidden" not in environment
    assert "PATH" in environment


@pytest.mark.parametrize(
    ("command", "logged"),
    [
        (["/no/such/program"], "the command could not be started: No such file or directory"),
        (["sh", "-c", "echo oh no >&2; exit 3"], "the command ended with status 3: oh no"),
        (["sh", "-c", "kill -9 $$"], "the command was ended by signal 9"),
        (["sh", "-c", "printf 'a\\033[31m\\nb' >&2; exit 1"], "status 1: a\\x1b[31m\\nb"),
    ],
)
def test_a_command_that_fails_is_tried_again(
    db: Database, shown: ShownStatus, caplog: pytest.LogCaptureFixture, command: list[str], logged: str
) -> None:
    settings = notifying({"type": "command", "command": command})
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    assert send_due(db, settings) == 0
    assert logged in caplog.text
    assert counted(db, "failed", "command") == 1
    last = read_last_attempts(db, ["command"])["command"]
    assert (last.result, last.waiting) == ("failed", 1)


def test_a_command_that_hangs_is_killed_with_its_children(
    db: Database, shown: ShownStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vmpooler_tasks.jobs.notifications.command.COMMAND_SECONDS", 2.0)
    child = tmp_path / "child"
    settings = notifying({"type": "command", "command": ["sh", "-c", f"sleep 100 & echo $! > {child}; wait"]})
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    assert send_due(db, settings) == 0
    assert "and was killed" in caplog.text
    number = child.read_text().strip()

    def is_gone() -> bool:
        status = Path("/proc", number, "status")
        return not status.exists() or "State:\tZ" in status.read_text()

    until(is_gone, "the child is gone")
