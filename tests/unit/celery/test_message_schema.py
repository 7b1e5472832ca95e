"""What reaches Celery's worker is a message that it can use; everything else has a reason why it is not."""

import base64
import json
from typing import Any, cast

import pytest
from celery.exceptions import InvalidTaskError
from celery.worker.request import Request
from celery.worker.strategy import proto1_to_proto2
from hypothesis import given
from hypothesis import strategies as st
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.transport.redis import Channel
from kombu.transport.virtual import Message

from tests.support.fuzzing import fuzzed
from tests.support.messages import message
from vmpooler_tasks.tasks.celery.app import app
from vmpooler_tasks.tasks.message_schema import (
    CONTROL_EXCHANGE,
    MAX_DEPTH,
    MAX_MESSAGE_BYTES,
    broadcast_problem,
    message_problem,
)
from vmpooler_tasks.tasks.registry import HEALTH_CHECK

EXAMPLES = 200

HEADERS = (
    "task",
    "id",
    "shadow",
    "lang",
    "origin",
    "root_id",
    "parent_id",
    "group",
    "group_index",
    "eta",
    "expires",
    "retries",
    "timelimit",
    "argsrepr",
    "kwargsrepr",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
    "compression",
    "tick",
    "redrive",
    "anything",
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
EMBEDDED = ("callbacks", "errbacks", "chain", "chord")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def encoded(entry: Any) -> bytes:
    return json.dumps(entry).encode()


def body(arguments: Any) -> str:
    return base64.b64encode(json.dumps(arguments).encode()).decode()


def with_body(arguments: Any) -> bytes:
    return encoded(message(HEALTH_CHECK, body=body(arguments)))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def as_worker_reads(raw: bytes) -> Request | None:
    """What a worker does with a message that it took. None for one that it does not take for a task."""
    taken: Any = cast("Any", Message)(json.loads(raw), channel=Channel.__new__(Channel), accept={"application/json"})
    payload, options = taken.payload, dict[str, Any]()
    if "task" not in taken.headers:
        if not isinstance(payload, dict) or "task" not in payload:
            return None
        body, headers, decoded, utc = proto1_to_proto2(taken, payload)
        options = {"body": body, "headers": headers, "decoded": decoded, "utc": utc}
    return Request(taken, app=app, task=app.tasks[HEALTH_CHECK], hostname="worker@here", **options)


def usable_or_refused(raw: bytes) -> None:
    if message_problem(raw) is not None:
        return
    try:
        request = as_worker_reads(raw)
    except (InvalidTaskError, ContentDisallowed, DecodeError):
        return  # Celery refuses these in order, and they become dead letters
    if request is None:
        return
    assert isinstance(request.info(), dict)
    assert request.args is not None


@pytest.fixture(scope="module", autouse=True)
def tasks() -> None:
    app.loader.import_default_modules()


def test_message_of_a_task_is_valid() -> None:
    raw = encoded(message(HEALTH_CHECK, 1, kwargs={"a": "\u00e9"}, headers={"tick": True}))
    assert message_problem(raw) is None
    request = as_worker_reads(raw)
    assert request is not None
    assert request.name == HEALTH_CHECK


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"[" * 100_000, "the message is nested too deeply"),
        (encoded(message(HEALTH_CHECK, headers={"deep": nested(MAX_DEPTH)})), "the message is nested too deeply"),
        (with_body([nested(MAX_DEPTH), {}, {}]), "the body is nested too deeply"),
        (b" " * (MAX_MESSAGE_BYTES + 1), "the message has 16777217 bytes, more than 16777216"),
        (
            encoded(message(HEALTH_CHECK) | {"content-type": "application/data"}),
            "the content type is 'application/data'",
        ),
        (encoded(message(HEALTH_CHECK) | {"content-type": None}), "the content type is None"),
        (encoded(message(HEALTH_CHECK, headers={"compression": "application/x-bz2"})), "the message is compressed"),
        (encoded(message(HEALTH_CHECK, headers={"stamped_headers": 5})), "the message is not valid: stamped_headers: "),
        (encoded(message(HEALTH_CHECK, headers={"eta": {}})), "the message is not valid: eta: "),
        (encoded(message(HEALTH_CHECK, headers={"eta": ""})), "the message is not valid: eta: "),
        (encoded(message(HEALTH_CHECK, headers={"timelimit": [1]})), "the message is not valid: timelimit: "),
        (
            encoded(message(HEALTH_CHECK, headers={"timelimit": [float("nan"), None]})),
            "the message is not valid",
        ),
        (encoded(message(HEALTH_CHECK, headers={"retries": -1})), "the message is not valid: retries: "),
        (encoded(message("\ud800")), "the headers or properties hold text that is not UTF-8"),
        (with_body([[], {}, {"errbacks": "x"}]), "the message is not valid: body.embedded.errbacks: "),
        (with_body([[], {}, {"chain": [{"args": []}]}]), "the message is not valid: body.embedded.chain.0.task: "),
        (with_body([[], {}]), "the message is not valid: body: "),
        (with_body([{}, [], {}]), "the message is not valid: body.args: "),
    ],
)
def test_unusable_message_has_a_reason(raw: bytes, problem: str) -> None:
    assert (message_problem(raw) or "").startswith(problem)


@fuzzed(EXAMPLES)
@given(st.sampled_from(HEADERS), json_values)
def test_any_header_is_usable_or_refused(name: str, value: Any) -> None:
    usable_or_refused(encoded(message(HEALTH_CHECK, headers={name: value})))


@fuzzed(EXAMPLES)
@given(st.sampled_from(PROPERTIES), json_values)
def test_any_property_is_usable_or_refused(name: str, value: Any) -> None:
    entry = message(HEALTH_CHECK)
    usable_or_refused(encoded({**entry, "properties": {**entry["properties"], name: value}}))


@fuzzed(EXAMPLES)
@given(st.sampled_from(["body", "headers", "properties", "content-type", "content-encoding"]), json_values)
def test_any_part_is_usable_or_refused(name: str, value: Any) -> None:
    usable_or_refused(encoded(message(HEALTH_CHECK) | {name: value}))


@fuzzed(EXAMPLES)
@given(json_values, json_values, st.sampled_from(EMBEDDED), json_values)
def test_any_body_is_usable_or_refused(args: Any, kwargs: Any, name: str, value: Any) -> None:
    usable_or_refused(with_body([args, kwargs, {name: value}]))


@fuzzed(EXAMPLES)
@given(
    st.sampled_from(["task", "id", "args", "kwargs", "retries", "eta", "expires", "timelimit", "taskset"]), json_values
)
def test_any_message_of_version_one_is_usable_or_refused(name: str, value: Any) -> None:
    old = {"task": HEALTH_CHECK, "id": "old", "args": [], "kwargs": {}}
    usable_or_refused(encoded({**message(HEALTH_CHECK), "headers": {}, "body": body({**old, name: value})}))


@fuzzed(EXAMPLES)
@given(st.binary(max_size=200) | json_values.map(encoded))
def test_any_bytes_are_usable_or_refused(raw: bytes) -> None:
    usable_or_refused(raw)


# --- broadcasts ------------------------------------------------------------------------------------------------------


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
    content = base64.b64encode(json.dumps({**ping, **parts}).encode()).decode()
    return {**message("x"), "headers": {"clock": 1, "expires": None}, "body": content}


def test_command_is_valid() -> None:
    assert broadcast_problem(command(), CONTROL_EXCHANGE) is None
    assert broadcast_problem(command(destination=["worker@here"]), CONTROL_EXCHANGE) is None


@pytest.mark.parametrize(
    "broadcast",
    [
        5,
        [],
        "election",
        None,
        {},
        nested(MAX_DEPTH + 1),
        command() | {"headers": {"clock": "late"}},
        command() | {"body": "%%%"},
        command() | {"content-type": "application/data"},
        command(method=None),
        command(arguments=[1]),
        command(destination=5),
        command(reply_to="somebody"),
    ],
)
def test_broadcast_that_is_not_a_command_has_a_reason(broadcast: Any) -> None:
    assert broadcast_problem(broadcast, CONTROL_EXCHANGE)


def test_event_has_a_body_of_any_form() -> None:
    event = {**message("x"), "headers": {"hostname": "worker@here"}, "body": body([{"type": "worker-heartbeat"}])}
    assert broadcast_problem(event, "celeryev") is None
    assert broadcast_problem(5, "celeryev")
