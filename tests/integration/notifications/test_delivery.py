"""A notification comes to its target once, in order, and however often that takes."""

import logging

import pytest

from tests.support.http_listener import HttpListener, http_listener
from tests.support.listeners import closed
from tests.support.notifications import TOKEN, ShownStatus, counted, make_due, notifying, observe, webhook
from vmpooler_tasks.jobs.notifications import send
from vmpooler_tasks.jobs.notifications.send import retry_delay, send_due
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.notifications import deliveries
from vmpooler_tasks.store.notifications.state import MAX_QUEUED

pytestmark = pytest.mark.both_servers


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


def test_an_attempt_that_was_planned_while_a_clock_was_ahead_is_due(
    db: Database, shown: ShownStatus, listener: HttpListener
) -> None:
    settings = notifying(webhook(listener))
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    db.call("ZADD", keys.NOTIFY_DUE, db.clock() + 3600, "webhook")
    assert send_due(db, settings) == 1
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


def test_each_target_is_tried_on_its_own(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying({"type": "slack", "url": f"http://127.0.0.1:{closed()}"}, webhook(listener))
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    observe(db, settings)
    assert send_due(db, settings) == 1
    assert len(listener.received) == 1


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
