"""Which changes of the status somebody learns of, from a real Redis to a real listener."""

import json
import logging
import ssl
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.integration.notifications.conftest import ShownStatus
from tests.support.http_listener import HttpListener, http_listener
from tests.support.listeners import closed, idle
from tests.support.processes import until
from tests.support.servers import TestServer, running
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import DeliveryError
from vmpooler_tasks.jobs.notifications import http, notifier, send
from vmpooler_tasks.jobs.notifications.notifier import Notifier
from vmpooler_tasks.jobs.notifications.observe import observe_status
from vmpooler_tasks.jobs.notifications.outage import RedisOutage
from vmpooler_tasks.jobs.notifications.send import retry_delay, send_due
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.notifications.message import Event
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.notifications import deliveries
from vmpooler_tasks.store.notifications.state import MAX_QUEUED, read_last_attempts

pytestmark = pytest.mark.both_servers

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


def test_a_change_is_sent_once_with_id_reasons_and_links(
    db: Database, shown: ShownStatus, listener: HttpListener
) -> None:
    settings = notifying(webhook(listener, headers={"Authorization": "Bearer abc"}), web="https://vm.example.com")
    assert observe(db, settings) is None
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    assert observe(db, settings) is Event.STATUS_CHANGED
    assert send_due(db, settings) == 1
    assert observe(db, settings) is not Event.STATUS_CHANGED
    assert send_due(db, settings) == 0
    [request] = listener.received
    assert request.path == f"/hook?token={TOKEN}"
    assert request.headers["Authorization"] == "Bearer abc"
    assert request.headers["Idempotency-Key"] == request.body["id"]
    assert (request.body["status"], request.body["previous_status"]) == ("unhealthy", "healthy")
    assert [reason["code"] for reason in request.body["reasons"]] == ["dlq_size"]
    assert request.body["links"]["page"] == "https://vm.example.com/"
    assert counted(db, "delivered") == 1

    shown.becomes(Status.HEALTHY)
    observe(db, settings)
    send_due(db, settings)
    assert [one.body["status"] for one in listener.received] == ["unhealthy", "healthy"]
    assert len({one.body["id"] for one in listener.received}) == 2


def test_a_change_must_hold(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying(webhook(listener), after=60)
    for _ in range(3):  # a planned restart, and a status that flaps
        shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
        assert observe(db, settings) is None
        shown.becomes(Status.HEALTHY)
        assert observe(db, settings) is None
    shown.becomes(Status.DEGRADED, ReasonCode.EMPTY_POOL)
    assert observe(db, settings) is None
    db.call("HINCRBYFLOAT", keys.NOTIFY_STATE, "differs_since", -59)
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)  # it gets worse: it was not healthy all the time
    assert observe(db, settings) is None
    db.call("HINCRBYFLOAT", keys.NOTIFY_STATE, "differs_since", -2)
    assert observe(db, settings) is Event.STATUS_CHANGED
    send_due(db, settings)
    assert [one.body["status"] for one in listener.received] == ["unhealthy"]


def test_a_clock_that_was_set_back_makes_nobody_wait(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying(webhook(listener), after=60)
    db.call("HSET", keys.NOTIFY_STATE, "differs_since", time.time() + 3600)
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    assert observe(db, settings) is None
    assert float(db.call("HGET", keys.NOTIFY_STATE, "differs_since")) < time.time() + 60


def test_many_processes_notice_one_change(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying(webhook(listener))
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    others = [Database(db.address) for _ in range(3)]
    events = [observe(one, settings) for one in others]
    assert events.count(Event.STATUS_CHANGED) == 1
    assert sum(send_due(one, settings) for one in others) == 1
    for one in others:
        one.close()


def test_a_listener_that_is_down_gets_it_later_and_in_order(
    db: Database, shown: ShownStatus, caplog: pytest.LogCaptureFixture
) -> None:
    port = closed()
    settings = notifying({"type": "webhook", "url": f"http://127.0.0.1:{port}/{TOKEN}"})
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    assert send_due(db, settings) == 0
    shown.becomes(Status.HEALTHY)
    observe(db, settings)
    assert send_due(db, settings) == 0, "the next attempt is not due yet"
    with http_listener(port) as listener:
        make_due(db)
        listener.statuses = [500]
        assert send_due(db, settings) == 0
        make_due(db)
        assert send_due(db, settings) == 2
    assert [one.body["status"] for one in listener.received] == ["unhealthy", "unhealthy", "healthy"]
    assert listener.received[0].body["id"] == listener.received[1].body["id"]
    assert (counted(db, "failed"), counted(db, "delivered")) == (2, 2)
    assert "Could not notify webhook: Connection refused (attempt 1" in caplog.text
    assert "responded with status 500" in caplog.text
    assert TOKEN not in caplog.text


def test_a_sender_that_is_killed_is_replaced(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying(webhook(listener))
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    taken = deliveries.claim(db, ["webhook"])  # and killed here
    assert taken is not None
    assert send_due(db, settings) == 0, "the lease holds"
    make_due(db)
    assert send_due(db, settings) == 1
    assert len(listener.received) == 1


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


def test_an_old_notification_is_dropped(
    db: Database,
    shown: ShownStatus,
    listener: HttpListener,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = notifying(webhook(listener))
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    monkeypatch.setattr(send, "MAX_AGE_SECONDS", -1)
    assert send_due(db, settings) == 0
    assert listener.received == []
    assert counted(db, "dropped") == 1
    assert "[!] [notify] Dropped a notification for webhook" in caplog.text
    assert db.call("EXISTS", keys.notifications("webhook")) == 0


def test_what_waits_for_a_target_is_bounded_and_expires(db: Database, shown: ShownStatus) -> None:
    settings = notifying({"type": "webhook", "url": f"http://127.0.0.1:{closed()}"})
    for number in range(MAX_QUEUED + 5):
        shown.becomes(Status.UNHEALTHY if number % 2 == 0 else Status.HEALTHY)
        observe(db, settings)
    waiting = keys.notifications("webhook")
    assert db.call("LLEN", waiting) == MAX_QUEUED
    assert counted(db, "dropped") == 5
    assert 24 * 3600 < db.call("TTL", waiting) <= 25 * 3600


@pytest.mark.parametrize("junk", [b"no json", b"[]", b'{"id": 1}', b'{"epoch": "1", "since": "x"}'])
def test_junk_in_redis_stops_nothing(db: Database, shown: ShownStatus, listener: HttpListener, junk: bytes) -> None:
    settings = notifying(webhook(listener))
    db.call("RPUSH", keys.notifications("webhook"), junk)
    db.call(
        "HSET", keys.NOTIFY_STATE, "status", "odd", "attempts:webhook", "x", "last:webhook", "[", "alerts:webhook", "["
    )
    make_due(db)
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    assert send_due(db, settings) == 1
    assert [one.body["status"] for one in listener.received] == ["unhealthy"]


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
        {alert["labels"]["reason"]: alert["endsAt"] > alert["startsAt"] and _is_ahead(alert) for alert in one.body}
        for one in listener.received
    )
    assert first == {"dlq_size": True, "empty_pool": True}
    assert second == {"dlq_size": True, "empty_pool": False}
    assert third == {"dlq_size": False}
    assert {one.path for one in listener.received} == {"/api/v2/alerts"}


def _is_ahead(alert: dict[str, str]) -> bool:
    return alert["endsAt"] > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))


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
    monkeypatch.setattr("vmpooler_tasks.jobs.notifications.command.COMMAND_SECONDS", 0.3)
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


def test_each_target_is_tried_on_its_own(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying({"type": "slack", "url": f"http://127.0.0.1:{closed()}"}, webhook(listener))
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    assert send_due(db, settings) == 1
    assert len(listener.received) == 1


def test_it_works_while_redis_is_out_of_memory(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying(webhook(listener))
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    db.call("CONFIG", "SET", "maxmemory", 1)
    try:
        assert observe(db, settings) is Event.STATUS_CHANGED
        assert send_due(db, settings) == 1
    finally:
        db.call("CONFIG", "SET", "maxmemory", 0)


def test_attempts_get_rarer_up_to_a_bound() -> None:
    delays = [retry_delay(failed, 1.0) for failed in range(30)]
    assert delays[:3] == [5, 10, 20]
    assert delays == sorted(delays)
    assert max(delays) == 600
    assert retry_delay(0, 0.0) == 3.75


def test_a_success_is_logged_with_the_id(
    db: Database, shown: ShownStatus, listener: HttpListener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = notifying(webhook(listener))
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    send_due(db, settings)
    assert "[*] [notify] Notified webhook: VMPooler is unhealthy (before: healthy): 1200 dead letters" in caplog.text
    assert listener.received[0].body["id"] in caplog.text
    assert TOKEN not in caplog.text


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[TestServer]:
    """A server that a test may stop."""
    with running("valkey", tmp_path, ["--appendonly", "yes"]) as server:
        yield server


@pytest.mark.parametrize("kind", ["webhook", "alertmanager"])
def test_an_outage_of_redis_and_its_end_are_sent(
    own_server: TestServer, shown: ShownStatus, listener: HttpListener, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.INFO)
    settings = notifying({"type": kind, "url": f"{listener.url}/{TOKEN}"}, after=60)
    db, now = Database(own_server.url), [0.0]
    outage = RedisOutage(db, settings, lambda: now[0])
    outage.record_end()
    own_server.kill()
    listener.statuses = [500]
    for moment, requests in ((0, 0), (59, 0), (60, 1), (61, 1), (70, 2), (100, 2)):
        now[0] = moment
        outage.record_failure("Connection refused")
        assert len(listener.received) == requests
    own_server.start()
    outage.record_end()
    settings = notifying({"type": kind, "url": f"{listener.url}/{TOKEN}"})
    assert observe(db, settings) is Event.STATUS_CHANGED
    assert send_due(db, settings) == 1
    failed, told, ended = (one.body for one in listener.received)
    if kind == "webhook":
        assert [reason["code"] for reason in told["reasons"]] == ["no_redis"]
        assert (failed["id"], ended["status"], ended["previous_status"]) == (told["id"], "healthy", "unhealthy")
    else:
        assert [alert["labels"]["reason"] for alert in (*told, *ended)] == ["no_redis"] * 2
        assert (_is_ahead(told[0]), _is_ahead(ended[0])) == (True, False)
    assert "Notified" in caplog.text
    assert TOKEN not in caplog.text
    db.close()


def test_one_process_observes_for_all_and_each_sends(
    db: Database, shown: ShownStatus, listener: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed, sent = Counter[Database](), Counter[Database]()
    monkeypatch.setattr(notifier, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(notifier, "OBSERVE_TURN_SECONDS", 3600)
    monkeypatch.setattr(notifier, "observe_status", lambda process, *_: observed.update([process]))
    monkeypatch.setattr(notifier, "send_due", lambda process, _: sent.update([process]))
    connections = [db, Database(db.address)]
    processes = [Notifier(one, notifying(webhook(listener)), system_clock) for one in connections]
    for process in processes:
        process.start()
    until(lambda: all(sent[one] > 3 for one in connections), "each process has sent")
    for process in processes:
        process.stop()
    assert observed.total() == 1
