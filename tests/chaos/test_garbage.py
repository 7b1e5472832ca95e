"""Nonsense in every queue and on the channel of Celery's remote control, while the system works.

The system and what must hold are those of `test_kills`. What is sent are messages of a task that nobody knows. In most
of them one part has another type or value; others are bytes, nested a thousand levels deep, compressed, or large.

What must hold
    Each of them is one dead letter in `tasks`, none comes back, and no worker ends or loses its connection.
"""

import base64
import json
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.chaos.settings import times
from tests.chaos.site import Site
from tests.support.messages import message
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.tasks import registry as names

MESSAGES = times(400)

pytestmark = [pytest.mark.stage(name="chaos"), pytest.mark.timeout(240 + MESSAGES)]

VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 5, 2**70, 1.5, float("inf"), float("nan")),
    *("", "x", "\ud800", "x" * 100_000, "2024-13-45", "application/data", "zlib", "utf-99"),
    *([], [5], [[]], [None, None, None], {}, {"x": 1}, {"task": 5}, [{"task": "t", "args": 5}]),
)
"""Each type of JSON, and values that mean something to Celery or kombu."""

FIELDS = (
    *(
        "eta",
        "expires",
        "retries",
        "timelimit",
        "stamps",
        "stamped_headers",
        "group",
        "group_index",
        "chord",
        "root_id",
    ),
    *("parent_id", "shadow", "origin", "lang", "argsrepr", "kwargsrepr", "ignore_result", "replaced_task_nesting"),
    *("compression", "id", "task", "redrive"),
)
PROPERTIES = (
    "delivery_tag",
    "delivery_info",
    "delivery_mode",
    "priority",
    "body_encoding",
    "correlation_id",
    "reply_to",
)
IDENTITIES = ("id", "delivery_tag")
EMBEDDED = ("callbacks", "errbacks", "chain", "chord")
BROADCASTS = (b"5", b"[]", b"x", b"[" * 100_000, b'{"method": 5}', b'{"method": "shutdown", "arguments": 5}')


def sound(chance: random.Random) -> dict[str, Any]:
    identity = str(UUID(int=chance.getrandbits(128)))
    return message("chaos.unknown", chance.random(), task_id=identity)


def spoilt_part(chance: random.Random) -> bytes:
    """Return a message whose envelope, headers, properties or body has a part of another type."""
    entry = sound(chance)
    place, name = chance.choice(
        [(entry, one) for one in ("headers", "properties", "body", "content-type", "content-encoding")]
        + [(entry["headers"], one) for one in FIELDS]
        + [(entry["properties"], one) for one in PROPERTIES]
    )
    value = chance.choice(VALUES)
    if name in IDENTITIES and isinstance(value, str):
        value += entry["headers"]["id"]  # two of one name would count as one message that is delivered twice
    place[name] = value
    return json.dumps(entry).encode()


def spoilt_body(chance: random.Random) -> bytes:
    """Return a message whose arguments or embedded signatures have another type."""
    entry = sound(chance)
    body: list[Any] = [[chance.random()], {}, dict.fromkeys(EMBEDDED)]
    if chance.random() < 0.5:
        body[chance.randrange(3)] = chance.choice(VALUES)
    else:
        body[2][chance.choice(EMBEDDED)] = chance.choice(VALUES)
    entry["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    return json.dumps(entry).encode()


def deep(chance: random.Random) -> bytes:
    """Return a message whose arguments or headers are nested deeper than Python's limit."""
    entry, nested = sound(chance), "[" * 5_000 + "]" * 5_000
    if chance.random() < 0.5:
        entry["body"] = base64.b64encode(f"[[{nested}], {{}}, {{}}]".encode()).decode()
        return json.dumps(entry).encode()
    entry["headers"]["x"] = "NESTED"
    return json.dumps(entry).replace('"NESTED"', nested).encode()


def compressed(chance: random.Random) -> bytes:
    """Return a message of a few kilobytes that is megabytes when it is unpacked."""
    entry = sound(chance)
    entry["headers"]["compression"] = "application/x-gzip"
    body = json.dumps([["x" * 2_000_000], {}, {}]).encode()
    entry["body"] = base64.b64encode(zlib.compress(body)).decode()
    return json.dumps(entry).encode()


def no_message(chance: random.Random) -> bytes:
    """Return bytes that are not a message."""
    start = chance.choice((b"", b"{", b"[]", b"5", b"null", b'"', b"\xff\xfe", b"\x80\x04]", b"\x00" * 50))
    return start + chance.randbytes(chance.randrange(1, 200))


KINDS: dict[Callable[[random.Random], bytes], int] = {
    spoilt_part: 10,
    spoilt_body: 5,
    deep: 1,
    compressed: 1,
    no_message: 3,
}
"""Kind → how often it is drawn."""


def nonsense(chance: random.Random) -> Iterator[bytes]:
    drawn = chance.choices(list(KINDS), list(KINDS.values()), k=MESSAGES)
    print({make.__name__: drawn.count(make) for make in KINDS}, flush=True)
    for make in drawn:
        yield make(chance)


def test_nonsense_becomes_dead_letters_and_stops_nobody(site: Site) -> None:
    for number, raw in enumerate(nonsense(site.chance)):
        site.db.call("LPUSH", site.chance.choice(names.QUEUES), raw)
        if number % 10 == 0:
            site.db.call("PUBLISH", "/0.celery.pidbox", site.chance.choice(BROADCASTS))
        if number % 40 == 0:
            site.wait_for_clones()
    figures = site.settle()
    print(f"{MESSAGES} messages, and all is well: {figures}", flush=True)
    kept = [one for one in site.dead_letters(DeadLetterQueue.TASKS) if one["error_class"] != "OrderError"]
    assert len(kept) == MESSAGES, "each message is one dead letter; those of users' orders are apart"
    for process in site.workers:
        assert process.running
        assert "Connection to broker lost" not in process.log
