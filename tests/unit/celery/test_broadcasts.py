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
from vmpooler_tasks.tasks.broker.broadcasts import CONTROL_EXCHANGE, EVENT_EXCHANGE, read_broadcast
from vmpooler_tasks.tasks.broker.parsing import MAX_MESSAGE_BYTES, InvalidMessageError


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
        "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "r"},
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
        command(self=1),
    ],
)
def test_broadcast_that_is_not_a_command_has_a_reason(broadcast: Any) -> None:
    assert problem_of(broadcast)


def test_events_have_a_type() -> None:
    heartbeat: dict[str, Any] = {
        "type": "worker-heartbeat",
        "hostname": "worker@here",
        "timestamp": 1.5,
        "clock": 7,
        "anything": [],
    }
    body: Any
    for body in (heartbeat, [heartbeat], []):
        assert problem_of(encoded(body, hostname="worker@here"), EVENT_EXCHANGE) is None
    for body in (5, [5], {}, [{"type": 5}], {**heartbeat, "timestamp": "late"}, {**heartbeat, "hostname": {}}):
        assert problem_of(encoded(body), EVENT_EXCHANGE)


@fuzzed(100)
@given(json_values | st.dictionaries(st.sampled_from(["method", "arguments", "destination", "pattern"]), json_values))
def test_any_broadcast_is_usable_or_refused(body: Any) -> None:
    for broadcast in (body, encoded(body), command(arguments=body)):
        problem_of(broadcast)
