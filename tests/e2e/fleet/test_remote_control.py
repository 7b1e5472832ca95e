"""What somebody who may publish on the channel of remote control can make workers do, and what not."""

import base64
import json
from typing import Any

import pytest
from celery import Celery

from tests.support.messages import message, send
from tests.support.processes import PATIENCE, Installation, Process, until
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, QUEUES

pytestmark = [pytest.mark.stage(name="fleet"), pytest.mark.slow(seconds=60)]

CHANNEL = "/0.celery.pidbox"
REPLY_ADDRESS = "b3b61c4e-8a4c-3f4e-9d57-6b9f0c2f7d10"

WORKER = "worker@here"

REFUSED: dict[str, dict[str, Any]] = {
    "shutdown": {},
    "cancel_consumer": {"queue": "vmpooler.maintenance"},
    "add_consumer": {"queue": "vmpooler__ready__a"},
    "rate_limit": {"task_name": HEALTH_CHECK, "rate_limit": "1/h"},
    "time_limit": {"task_name": HEALTH_CHECK, "soft": 1, "hard": 1},
    "pool_shrink": {"n": 1},
    "pool_restart": {},
    "disable_events": {},
}


def control(installation: Installation, method: str, **arguments: Any) -> str:
    """Send a command as Celery's own programs do, and return the worker's reply."""
    with Celery(broker=installation.environment["REDIS_URL"], set_as_current=False) as client:
        sent = {"arguments": arguments, "destination": [WORKER], "reply": True, "timeout": PATIENCE}
        (reply,) = client.control.broadcast(method, **sent)
    return str(reply[WORKER])


def named_worker(installation: Installation, *options: str, **settings: Any) -> Process:
    """Start a worker whose whole name is known."""
    arguments = ("worker", "--loglevel", "INFO", "-n", WORKER, *options)
    return installation.celery(*arguments, name="worker", **settings).start().says(" ready.")


def publish(database: Database, method: str, **parts: Any) -> None:
    """Publish a command by hand, as somebody does who knows Redis and no password of ours."""
    body = {"method": method, "arguments": {}, "destination": None, "pattern": None, "matcher": None, **parts}
    envelope = {**message("x"), "headers": {"clock": 1}, "body": base64.b64encode(json.dumps(body).encode()).decode()}
    assert database.call("PUBLISH", CHANNEL, json.dumps(envelope)) == 1, "the worker listens"


def assert_works(database: Database, installation: Installation, worker: Process) -> None:
    database.call("DEL", keys.HEALTH)
    send(database, message(HEALTH_CHECK))
    until(lambda: database.call("EXISTS", keys.HEALTH), "the worker takes tasks of all its queues")
    assert "pong" in control(installation, "ping")
    assert worker.running


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_worker_is_neither_ended_nor_changed(installation: Installation, database: Database, pool: str) -> None:
    worker = named_worker(installation, "-P", pool)
    until(lambda: database.call("PUBSUB", "NUMPAT") == 1, "the worker listens")
    for method, arguments in REFUSED.items():
        assert f"does not permit {method}" in control(installation, method, **arguments)
    publish(database, "election", arguments={"id": "1", "topic": "t"})
    publish(database, "hello", arguments={"from_node": "x", "revoked": {"some-id": 1}})
    publish(database, "objgraph")
    publish(database, "no such command")
    publish(database, "ping", arguments={"state": 1})
    publish(database, "ping", pattern="(a+)+$", matcher="pcre")
    publish(database, "ping", ticket="t", reply_to={"exchange": "", "routing_key": "vmpooler__ready__a"})
    assert_works(database, installation, worker)
    assert "Refused the command shutdown of remote control" in worker.log
    assert "Traceback" not in worker.log
    assert database.call("EXISTS", "vmpooler__ready__a") == 0
    (seen,) = heartbeats.read_fleet(database).workers
    assert sorted(seen.queues) == sorted(QUEUES)


def test_what_the_configuration_permits_is_done_and_logged(installation: Installation, database: Database) -> None:
    installation.configure(remote_control="inspect, cancel_consumer")
    worker = named_worker(installation)
    until(lambda: database.call("PUBSUB", "NUMPAT") == 1, "the worker listens")
    assert "no longer consuming" in control(installation, "cancel_consumer", queue="vmpooler.check")
    worker.says("[!] [workers] Remote control: cancel_consumer queue=vmpooler.check")
    (seen,) = until(lambda: [one for one in heartbeats.read_fleet(database).workers if one.changes], "it is shown")
    assert seen.changes == ("cancel_consumer queue=vmpooler.check",)
    until(lambda: "vmpooler.check" not in heartbeats.read_fleet(database).workers[0].queues, "the heartbeat shows it")
    report = json.loads(installation.run("vmpooler-tasks", "health", "--no-check", "--json", status=2))
    assert "worker_changed" in [reason["code"] for reason in report["reasons"]]
    assert "does not permit revoke" in control(installation, "revoke", task_id="some-id")


def test_without_remote_control_workers_do_not_listen(installation: Installation, database: Database) -> None:
    installation.configure(remote_control=False)
    worker = named_worker(installation)
    until(lambda: heartbeats.read_fleet(database).workers, "it is known")
    assert database.call("PUBSUB", "NUMPAT") == 0
    findings = json.loads(installation.run("vmpooler-tasks", "doctor", "--json", status=1))
    (found,) = [one for one in findings if one["what"] == "workers"]
    assert (found["state"], found["found"]) == ("ok", f"1: {WORKER}")
    database.call("DEL", keys.HEALTH)
    send(database, message(HEALTH_CHECK))
    until(lambda: database.call("EXISTS", keys.HEALTH), "it takes tasks")
    assert worker.running


def test_a_worker_without_our_application_has_the_same_guard(installation: Installation, database: Database) -> None:
    """`celery worker` in a folder with our `celeryconfig.py` is an application of Celery's own."""
    installation.deploy()
    arguments = ("worker", "--loglevel", "INFO", "-n", WORKER)
    worker = installation.celery(*arguments, name="worker", app=()).start().says(" ready.")
    until(lambda: database.call("PUBSUB", "NUMPAT") == 1, "the worker listens")
    publish(database, "shutdown")
    publish(database, "cancel_consumer", arguments={"queue": "vmpooler.maintenance"})
    worker.says("Refused the command cancel_consumer of remote control")
    assert_works(database, installation, worker)


def test_junk_events_leave_flower_listening(installation: Installation, database: Database) -> None:
    flower = installation.celery("flower", "--address=127.0.0.1", "--port=0", name="flower").start()
    until(lambda: database.call("PUBSUB", "NUMPAT") >= 1, "Flower listens")
    heartbeat = {"type": "worker-heartbeat", "hostname": "w@h", "timestamp": 1.5, "clock": 1, "utcoffset": 0, "pid": 1}
    for event in (5, {}, {**heartbeat, "utcoffset": "x"}, {**heartbeat, "event": 5}, {**heartbeat, "loadavg": {}}):
        body = base64.b64encode(json.dumps(event).encode()).decode()
        envelope = {**message("x"), "headers": {"hostname": "w@h"}, "body": body}
        assert database.call("PUBLISH", "/0.celeryev/worker.heartbeat", json.dumps(envelope)) == 1
    assert database.call("PUBLISH", "/0.celeryev/worker.heartbeat", "5") == 1
    flower.says("Ignored a broadcast on celeryev: the message is a JSON int, not an object")
    assert flower.log.count("Ignored a broadcast on celeryev") == 2, "the others have one text: once a minute"
    assert "Failed to capture events" not in flower.log
    assert "Traceback" not in flower.log
    assert flower.running
