"""What reaches Celery's worker is a message that it can use; everything else has a reason why it is not."""

import base64
import json
from typing import Any, cast

import pytest
from celery import chain, chord, chunks, group, xmap, xstarmap
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
from tests.support.odd_messages import odd_messages, values
from vmpooler_tasks.model.deadletters.shown import is_too_deep
from vmpooler_tasks.model.redaction import MAX_DEPTH
from vmpooler_tasks.tasks.broker.parsing import MAX_MESSAGE_BYTES, MAX_VALUES, InvalidMessageError
from vmpooler_tasks.tasks.celery.app import app
from vmpooler_tasks.tasks.message_schema import read_message
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, PURGE

EXTRA = "Extra inputs are not permitted"


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


def problem_of(raw: bytes) -> str | None:
    try:
        read_message(raw)
    except InvalidMessageError as problem:
        return str(problem)
    return None


def as_worker_reads(entry: dict[str, Any]) -> Request | None:
    """What a worker does with a message that it took. None for one that it does not take for a task."""
    taken: Any = cast("Any", Message)(entry, channel=Channel.__new__(Channel), accept={"application/json"})
    payload, options = taken.payload, dict[str, Any]()
    if "task" not in taken.headers:
        if not isinstance(payload, dict) or "task" not in payload:
            return None
        body, headers, decoded, utc = proto1_to_proto2(taken, payload)
        options = {"body": body, "headers": headers, "decoded": decoded, "utc": utc}
    return Request(taken, app=app, task=app.tasks[HEALTH_CHECK], hostname="worker@here", **options)


def usable_or_refused(raw: bytes) -> None:
    try:
        request = as_worker_reads(read_message(raw))
    except InvalidMessageError:
        return
    except (InvalidTaskError, ContentDisallowed, DecodeError):
        return  # Celery refuses these in order, and they become dead letters
    if request is None:
        return
    assert isinstance(request.info(), dict)
    assert request.args is not None
    assert isinstance(str(request), str)


@pytest.fixture(scope="module", autouse=True)
def tasks() -> None:
    app.loader.import_default_modules()


def test_message_of_a_task_is_valid() -> None:
    raw = encoded(message(HEALTH_CHECK, 1, kwargs={"a": "\u00e9"}, headers={"tick": True}))
    request = as_worker_reads(read_message(raw))
    assert request is not None
    assert request.name == HEALTH_CHECK


def test_message_holds_the_deepest_arguments_that_a_redrive_sends() -> None:
    deepest, deeper = [nested(MAX_DEPTH - 2)], [nested(MAX_DEPTH - 1)]
    assert not is_too_deep([deepest, {}])
    assert problem_of(with_body([deepest, {}, {}])) is None
    assert is_too_deep([deeper, {}])
    assert problem_of(with_body([deeper, {}, {}])) == "the body is nested too deeply"


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
        (
            encoded(message(HEALTH_CHECK, headers={"x": "\ud800"})),
            "the headers or properties hold text that is not UTF-8",
        ),
        (encoded(message("\ud800")), "the message is not valid: task: "),
        (with_body([[], {}, {"errbacks": "x"}]), "the message is not valid: body.embedded.errbacks: "),
        (with_body([[], {}, {"chain": [{"args": []}]}]), "the message is not valid: body.embedded.chain.0.task: "),
        (with_body([[], {}]), "the message is not valid: body: "),
        (with_body([{}, [], {}]), "the message is not valid: body.args: "),
    ],
)
def test_unusable_message_has_a_reason(raw: bytes, problem: str) -> None:
    assert (problem_of(raw) or "").startswith(problem)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (json.dumps(message(HEALTH_CHECK)).encode("utf-16"), "the message is not JSON: "),
        (b"\xef\xbb\xbf" + encoded(message(HEALTH_CHECK)), "the message is not JSON: "),
        (
            encoded(message(HEALTH_CHECK, headers={"x": {"__type__": "uuid", "__value__": 5}})),
            "the message is not JSON: ",
        ),
        (encoded(message(HEALTH_CHECK, headers={"x": {"__type__": [], "__value__": 5}})), "the message is not JSON: "),
        (with_body([[{"__type__": "decimal", "__value__": "x"}], {}, {}]), "the body is not JSON: "),
    ],
)
def test_a_message_is_read_as_kombu_reads_it(raw: bytes, problem: str) -> None:
    """Python reads UTF-16 and a byte order mark. kombu does not, and makes objects of `__type__`."""
    assert (problem_of(raw) or "").startswith(problem)


def test_many_values_are_refused_before_they_are_parsed() -> None:
    many = with_body([[[]] * MAX_VALUES, {}, {}])
    assert problem_of(many) == f"the body has more than {MAX_VALUES} commas and brackets"
    assert problem_of(with_body([["x" * 8 * 2**20], {}, {}])) is None


@pytest.mark.parametrize(
    "kind", ["application/text", "text/plain", "application/x-python-serialize", "Application/JSON"]
)
def test_only_json_is_decoded(kind: str) -> None:
    """kombu decodes `application/text` by its content encoding, which may unpack to any size."""
    raw = encoded(message(HEALTH_CHECK) | {"content-type": kind, "content-encoding": "bz2"})
    assert problem_of(raw) == f"the content type is {kind!r}, not application/json"


@pytest.mark.parametrize("encoding", ["gzip", "BASE64", "rot13"])
def test_only_base64_encodes_a_body(encoding: str) -> None:
    entry = message(HEALTH_CHECK, body="[[], {}, {}]")
    raw = encoded({**entry, "properties": {**entry["properties"], "body_encoding": encoding}})
    assert problem_of(raw) == f"the encoding of the body is {encoding!r}, not base64"


@pytest.mark.parametrize("name", ["get", "update", "_children", "__class__"])
def test_no_field_replaces_a_method_of_the_request(name: str) -> None:
    reserved = f"the message is not valid: {name}: the name is reserved"
    assert problem_of(encoded(message(HEALTH_CHECK, headers={name: 5}))) == reserved
    assert problem_of(with_body([[], {}, {name: 5}])) == f"the message is not valid: body.embedded.{name}: {EXTRA}"


def test_embedded_tasks_stand_nowhere_else() -> None:
    assert problem_of(encoded(message(HEALTH_CHECK, headers={"chain": 5}))) == (
        "the message is not valid: chain: Input should be a valid list"
    )
    assert problem_of(with_body([[], {}, {"retries": "x"}])) == (
        f"the message is not valid: body.embedded.retries: {EXTRA}"
    )


@pytest.mark.parametrize("field", ["eta", "expires"])
@pytest.mark.parametrize("text", ["soon", "12:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_celery_cannot_use_is_refused(field: str, text: str) -> None:
    assert (problem_of(encoded(message(HEALTH_CHECK, headers={field: text}))) or "").startswith(
        f"the message is not valid: {field}: Value error, {text!r} is not a time: "
    )


@pytest.mark.parametrize("limit", [-1, 1e300])
def test_a_time_limit_that_no_timer_holds_is_refused(limit: float) -> None:
    raw = encoded(message(HEALTH_CHECK, headers={"timelimit": [None, limit]}))
    assert (problem_of(raw) or "").startswith("the message is not valid: timelimit.1: ")


def test_celery_s_own_canvas_is_valid() -> None:
    one, two = app.signature(HEALTH_CHECK, args=(1,)), app.signature(PURGE, kwargs={"why": "é"}, countdown=5)
    canvas = [
        one | two,
        group(one, two),
        chord([one, two], two),
        xmap(one, [1, 2]),
        xstarmap(one, [[1], [2]]),
        chunks(one, [[1], [2]], 1),
        chain(one, group(one, chain(one, two)), two).on_error(one),
    ]
    for signature in (json.loads(json.dumps(each)) for each in canvas):
        embedded = {"callbacks": [signature], "errbacks": [signature], "chain": [signature], "chord": signature}
        assert problem_of(with_body([[], {}, embedded])) is None, signature


@pytest.mark.parametrize(
    "changes",
    [
        {"task": 5},
        {"args": {}},
        {"options": {"queue": 5}},
        {"options": {"compression": "bz2"}},
        {"options": {"link": [5]}},
        {"options": {"eta": "soon"}},
        {"subtask_type": "no such"},
        {"subtask_type": "group"},
        {"subtask_type": "group", "kwargs": {"tasks": [5]}},
        {"subtask_type": "chord", "kwargs": {"header": [], "body": 5}},
        {"subtask_type": "chunks", "kwargs": {"task": 5, "it": [], "n": 1}},
        {"chord_size": "x"},
    ],
)
@pytest.mark.parametrize("place", ["callbacks", "errbacks", "chain", "chord"])
def test_a_signature_that_celery_cannot_call_is_refused(place: str, changes: dict[str, Any]) -> None:
    valid: dict[str, Any] = {
        "task": HEALTH_CHECK,
        "args": [],
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        "immutable": True,
    }
    for signature, is_valid in ((valid, True), ({**valid, **changes}, False)):
        raw = with_body([[], {}, {place: signature if place == "chord" else [signature]}])
        assert (problem_of(raw) is None) is is_valid


@fuzzed(500)
@given(odd_messages(HEALTH_CHECK, PURGE, "no.such.task"))
def test_any_message_is_usable_or_refused(raw: bytes) -> None:
    usable_or_refused(raw)


@fuzzed(500)
@given(st.binary(max_size=200) | values.map(encoded))
def test_any_bytes_are_usable_or_refused(raw: bytes) -> None:
    usable_or_refused(raw)
