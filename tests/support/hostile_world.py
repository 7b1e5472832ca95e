"""Write every hostile name wherever a program or a person may have written it, and see what comes out."""

import json
from typing import Any

from tests.support.commands import dead_letter
from tests.support.hostile_names import HOSTILE_NAMES
from tests.support.world import POOL, World
from vmpooler_tasks.model.health.explanation import default_reason
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.fleet import audit

NAMES = [name for name in HOSTILE_NAMES.values() if name]


def write_everywhere(world: World) -> None:
    """Write each name wherever a program or a person may have written it."""
    for number, name in enumerate(NAMES):
        fields: dict[str, Any] = dict.fromkeys(
            ("pool", "error_class", "error_message", "request_id", "task", "traceback"), name
        )
        dead_letter(world, "clone", 60 + number, vm=name, id=f"id-{number}", args=[name, {name: name}], **fields)
        world.vm(Queue.READY, name, 10**6, host=name, template=name)
        world.vm(Queue.PENDING, f"{name}2", 10**6)
        world.client.sadd(keys.POOLS, name)
        world.client.hset(f"vmpooler__odrequest__{name}", mapping={"requested": f"{name}:{POOL}:1", "token:user": name})
        world.client.zadd(keys.WAITING_REQUESTS, {name: world.now - 60})
        audit.record(world.db, {"action": name, "who": name, "why": name, "count": "1", name: name})
    reasons = [
        {**default_reason(ReasonCode.EMPTY_POOL, 1, 0, pool=name, error=name, host=name, key=name).as_json(), **code}
        for name in NAMES
        for code in ({}, {"code": name})  # a code that this version does not know
    ]
    times = dict.fromkeys(("last_check", "last_scheduled_check"), iso_utc(world.now))
    record = {"status": "degraded", **times, "metrics": "{}", "reasons": json.dumps(reasons)}
    world.client.hset(keys.HEALTH, mapping=record)


def is_text(shown: str) -> bool:
    """Return whether a terminal shows every character, and obeys none."""
    return all(line.isprintable() for line in shown.replace("\r\n", "\n").split("\n"))


def texts_in(value: Any) -> set[str]:
    """Return every text in a value of JSON."""
    match value:
        case str():
            return {value}
        case list():
            return set().union(*map(texts_in, value))
        case dict():
            return set(value).union(*map(texts_in, value.values()))
    return set()
