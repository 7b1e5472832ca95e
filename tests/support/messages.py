"""Messages in the form of kombu's queues in Redis, built by hand so that a test can change each part."""

import base64
import json
from time import sleep
from typing import Any
from uuid import uuid4

from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.broker.transport import WAKE_SUFFIX

QUEUE = "vmpooler.maintenance"


def message(
    task: str,
    *args: Any,
    task_id: str | None = None,
    headers: dict[str, Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    **spoilt: Any,
) -> dict[str, Any]:
    """Return a task message. `headers` are added (`timelimit`, `expires`), `spoilt` replaces parts of the envelope."""
    identity = task_id or str(uuid4())
    body = json.dumps([args, kwargs or {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": identity,
            "root_id": identity,
            "parent_id": None,
            "group": None,
            "retries": 0,
            "timelimit": [None, None],
            "eta": None,
            "expires": None,
            **(headers or {}),
        },
        "properties": {
            "correlation_id": identity,
            "reply_to": str(uuid4()),
            "delivery_mode": 2,
            "priority": 0,
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        },
        **spoilt,
    }


def send(db: Database, entry: dict[str, Any] | bytes, queue: str = QUEUE) -> None:
    """Add a message, or bytes that are not one, to the end of the queue, and wake a worker as our publishers do."""
    db.call("LPUSH", queue, entry if isinstance(entry, bytes) else json.dumps(entry))
    db.call("LPUSH", queue + WAKE_SUFFIX, "1")


def waiting(db: Database) -> int:
    """Return the number of messages in the queue, and of those that a worker has not acknowledged."""
    # In one step: a retry is in the queue before its first try leaves. A full Redis would refuse a transaction.
    pipe = db.client.pipeline(transaction=False)
    pipe.llen(QUEUE).hlen("unacked")
    return sum(map(int, pipe.execute()))


def nothing_waits(db: Database) -> bool:
    """Return True if two checks find no message: between two steps of kombu a message is in neither place."""
    if waiting(db):
        return False
    sleep(0.1)
    return waiting(db) == 0
