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


def test_a_change_that_holds_is_told_once_by_all_processes_together(
    installation: Installation, database: Database, listener: HttpListener
) -> None:
    configure(installation, listener)
    processes = [installation.worker(name=name) for name in ("one", "two")] + [installation.beat()]
    processes.append(installation.start_literally(["vmpooler-tasks", "web", "--port", "0"], "web"))
    until(lambda: status(database) == "healthy", "it is healthy")
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
    listener.hold.clear()
    killed = installation.worker(name="one")
    beat = installation.beat()
    until(lambda: status(database) == "healthy", "it is healthy")
    beat.kill()  # only one process sends
    fail(database)
    installation.run("vmpooler-tasks", "health", status=1)
    [first] = listener.gets()
    killed.kill()
    listener.hold.set()
    database.call("ZADD", keys.NOTIFY_DUE, 0, "webhook")  # its lease ends
    installation.worker(name="two")
    again = listener.gets(2)[1]
    assert again.body["id"] == first.body["id"]
    until(
        lambda: database.call("EXISTS", keys.notifications("webhook")) == 0 or len(listener.received) > 2, "it is done"
    )
