"""Which changes of the status somebody learns of, from a real Redis to a real listener."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http_listener import HttpListener
from tests.support.notifications import TOKEN, ShownStatus, counted, is_ahead, notifying, observe, webhook
from tests.support.processes import until
from tests.support.servers import TestServer, running
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.jobs.notifications import notifier
from vmpooler_tasks.jobs.notifications.notifier import Notifier
from vmpooler_tasks.jobs.notifications.outage import RedisOutage
from vmpooler_tasks.jobs.notifications.send import send_due
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.notifications.message import Event
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.both_servers


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


def test_it_works_while_redis_is_out_of_memory(db: Database, shown: ShownStatus, listener: HttpListener) -> None:
    settings = notifying(webhook(listener))
    shown.becomes(Status.UNHEALTHY, ReasonCode.DLQ_SIZE)
    db.call("CONFIG", "SET", "maxmemory", 1)
    try:
        assert observe(db, settings) is Event.STATUS_CHANGED
        assert send_due(db, settings) == 1
    finally:
        db.call("CONFIG", "SET", "maxmemory", 0)


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
        assert (is_ahead(told[0]), is_ahead(ended[0])) == (True, False)
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
