"""Real workers and beats notify a real listener."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http_listener import HttpListener, http_listener
from tests.support.processes import Installation, until
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.slow(seconds=40)

TOKEN = "T0KEN-of-slack"
DLQ = "vmpooler__dlq__tasks"
HELD = 4


@pytest.fixture
def listener() -> Iterator[HttpListener]:
    with http_listener() as found:
        yield found


def configure(installation: Installation, listener: HttpListener, **options: Any) -> None:
    """One dead letter makes the status degraded. A check runs every second."""
    config = json.loads(installation.environment["VMPOOLER_CONFIG"])
    config[":config"] |= {
        "purge_enabled": False,
        "health_check_interval": 1,
        "health_thresholds": {"dlq_max_warning": 0},
        "notify_after": HELD,
        **options,
    }
    config[":pools"] = [{"name": "a", "size": 0}]
    config[":notify"] = {"targets": [{"type": "webhook", "url": f"{listener.url}/{TOKEN}"}]}
    installation.environment["VMPOOLER_CONFIG"] = json.dumps(config)


def fail(database: Database) -> None:
    database.call("ZADD", DLQ, 1, json.dumps({"error_class": "E", "error_message": "<!channel> $(reboot)"}))


def status(database: Database) -> str:
    return (database.call("HGET", keys.HEALTH, "status") or b"").decode()


def is_settled(database: Database) -> bool:
    """Return whether the targets know that it is healthy, and nothing waits for them."""
    told = database.call("HGET", keys.NOTIFY_STATE, "status") or b"healthy"
    return bool(told == b"healthy") and not database.call("ZCARD", keys.NOTIFY_DUE)


def test_a_change_that_holds_is_told_once_by_all_processes_together(
    installation: Installation, database: Database, listener: HttpListener
) -> None:
    configure(installation, listener)
    processes = [installation.worker(name=name) for name in ("one", "two")] + [installation.beat()]
    processes.append(installation.start_literally(["vmpooler-tasks", "web", "--port", "0"], "web"))
    until(lambda: status(database) == "healthy" and is_settled(database), "it is healthy, and nobody is to be told")
    listener.received.clear()  # of a start that took long
    fail(database)
    until(lambda: status(database) == "degraded", "it is degraded")
    database.call("DEL", DLQ)
    until(lambda: status(database) == "healthy", "it is healthy again")
    assert listener.received == [], "nobody learns of what returned in time"
    fail(database)
    [told] = listener.gets()
    assert (told.body["status"], told.body["previous_status"]) == ("degraded", "healthy")
    assert [reason["code"] for reason in told.body["reasons"]] == ["dlq_size"]
    database.call("DEL", DLQ)
    assert [one.body["status"] for one in listener.gets(2)] == ["degraded", "healthy"]
    assert len(listener.received) == 2
    assert [one.log for one in processes if TOKEN in one.log] == []
    dumped = [database.call("HGETALL", keys.CONFIG), database.call("HGETALL", keys.NOTIFY_STATE)]
    assert TOKEN not in repr(dumped)


def test_the_notification_of_a_killed_sender_is_sent_by_another(
    installation: Installation, database: Database, listener: HttpListener
) -> None:
    configure(installation, listener, notify_after=0)
    senders = [installation.worker(name="one"), installation.beat()]
    until(lambda: status(database) == "healthy" and is_settled(database), "it is healthy, and nobody is to be told")
    listener.received.clear()
    listener.hold.clear()
    fail(database)
    [first] = listener.gets()
    for sender in senders:
        sender.kill()
    listener.hold.set()
    database.call("ZADD", keys.NOTIFY_DUE, 0, "webhook")  # its lease ends
    installation.worker(name="two")
    again = listener.gets(2)[1]
    assert again.body["id"] == first.body["id"]
    assert (again.body["status"], again.body["previous_status"]) == ("degraded", "healthy")
