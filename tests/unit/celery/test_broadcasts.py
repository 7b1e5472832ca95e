"""What reaches a process that listens to broadcasts is a command, a reply or an event that it can use."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tests.support.messages import message
from tests.support.odd_messages import json_values
from vmpooler_tasks.tasks.broker.broadcasts import (
    CONTROL_EXCHANGE,
    EVENT_EXCHANGE,
    MAX_BROADCAST_BYTES,
    MAX_EVENTS,
    read_broadcast,
    read_reply,
)
from vmpooler_tasks.tasks.broker.parsing import MAX_MESSAGE_BYTES, InvalidMessageError

REPLY_ADDRESS = "b3b61c4e-8a4c-3f4e-9d57-6b9f0c2f7d10"


def encoded(body: Any, **headers: Any) -> dict[str, Any]:
    content = base64.b64encode(json.dumps(body).encode()).decode()
    return {**message("x"), "headers": headers, "body": content}


def command(**parts: Any) -> dict[str, Any]:
    """A remote-control command, as `celery inspect ping` sends it."""
    ping = {
        "method": "ping",
        "arguments": {},
        "destination": None,
        "pattern": None,
        "matcher": None,
        "ticket": "t",
        "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": REPLY_ADDRESS},
    }
    return encoded({**ping, **parts}, clock=1, expires=None)


def problem_of(broadcast: Any, exchange: str = CONTROL_EXCHANGE) -> str | None:
    raw = broadcast if isinstance(broadcast, bytes) else json.dumps(broadcast).encode()
    try:
        read_broadcast(raw, exchange)
    except InvalidMessageError as problem:
        return str(problem)
    return None


def test_command_is_valid() -> None:
    assert problem_of(command()) is None
    assert problem_of(command(destination=["worker@here"])) is None


@pytest.mark.parametrize(
    "broadcast",
    [
        5,
        [],
        "election",
        None,
        {},
        b"",
        b"[" * 100_000,
        b"\xff",
        b'{"__type__": "bytes", "__value__": 5}',
        b'{"__type__": "decimal", "__value__": "x"}',
        b" " * (MAX_MESSAGE_BYTES + 1),
        command() | {"headers": {"clock": "late"}},
        command() | {"body": "%%%"},
        command() | {"content-type": "application/data"},
        command() | {"content-type": "application/text"},
        command(method=None),
        command(method=[]),
        command(arguments=[1]),
        command(destination=5),
        command(reply_to="somebody"),
        command(reply_to={"exchange": "", "routing_key": "vmpooler__ready__a"}),
        command(reply_to={"exchange": "vmpooler", "routing_key": REPLY_ADDRESS}),
        command(reply_to={"exchange": "reply.celery.pidbox", "routing_key": "vmpooler.clone"}),
        command(destination="worker@here"),
        command(pattern="(a+)+$", matcher="pcre"),
        command() | {"headers": {"clock": 2**63}},
        command() | {"headers": {"clock": -1}},
        command(ticket="x" * MAX_BROADCAST_BYTES),
        command(self=1),
    ],
)
def test_broadcast_that_is_not_a_command_has_a_reason(broadcast: Any) -> None:
    assert problem_of(broadcast)


COMMON: dict[str, Any] = {"hostname": "worker@here", "timestamp": 1.5, "clock": 7, "utcoffset": 0, "pid": 1}
HEARTBEAT: dict[str, Any] = {
    **COMMON,
    "type": "worker-heartbeat",
    "freq": 2.0,
    "active": 0,
    "processed": 7,
    "loadavg": [0.1, 0.2, 0.3],
    "sw_ident": "py-celery",
}
STARTED: dict[str, Any] = {
    **COMMON,
    "type": "task-started",
    "uuid": "some-id",
    "name": "a.task",
    "args": "()",
    "kwargs": "{}",
    "retries": 0,
    "runtime": 0.1,
}


@pytest.mark.parametrize(
    "body",
    [HEARTBEAT, STARTED, [HEARTBEAT, STARTED], [], {**STARTED, "progress": [5]}, {"type": "mine", "anything": {}}],
)
def test_event_that_can_be_used_is_valid(body: Any) -> None:
    assert problem_of(encoded(body, hostname="worker@here"), EVENT_EXCHANGE) is None


@pytest.mark.parametrize(
    "body",
    [
        5,
        [5],
        {},
        [{"type": 5}],
        {"type": "worker-online"},
        {"type": "task-sent", "hostname": "worker@here", "timestamp": 1},
        [HEARTBEAT] * (MAX_EVENTS + 1),
        *({**HEARTBEAT, name: "late"} for name in ("timestamp", "clock", "utcoffset", "freq", "loadavg", "active")),
        *({**HEARTBEAT, name: 5} for name in ("event", "heartbeats", "update", "alive", "__class__", "_x")),
        *({**STARTED, name: {}} for name in ("uuid", "name", "args", "kwargs", "runtime", "event", "cluster_state")),
        {**HEARTBEAT, "hostname": {}},
        {**HEARTBEAT, "clock": 2**63},
        {**HEARTBEAT, "timestamp": 1e300},
    ],
)
def test_event_that_celery_and_flower_cannot_use_has_a_reason(body: Any) -> None:
    problem = problem_of(encoded(body), EVENT_EXCHANGE)
    assert problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (5, {}),
        ([], {}),
        ({"worker@here": 5}, {"clock": "late"}),
        ({"worker@here": 5}, {"expires": "late"}),
    ],
)
def test_reply_that_cannot_be_used_has_a_reason(body: Any, headers: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessageError):
        read_reply(json.dumps(encoded(body, **headers)).encode())


def test_reply_is_valid() -> None:
    reply = encoded({"worker@here": {"ok": "pong"}}, clock=3, ticket="t", expires=1.5)
    assert read_reply(json.dumps(reply).encode()) == reply


@fuzzed(100)
@given(json_values | st.dictionaries(st.sampled_from(["method", "arguments", "destination", "pattern"]), json_values))
def test_any_broadcast_is_usable_or_refused(body: Any) -> None:
    for broadcast in (body, encoded(body), command(arguments=body)):
        problem_of(broadcast)
