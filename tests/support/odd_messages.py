"""Hypothesis strategies for the messages that may lie in a queue: nearly right, and wrong in any way.

A message is a valid one of version 1 or 2 of Celery's protocol in which a few places are changed. A field has a value
of any type, depth or size; the body another form, encoding, content type or compression; the bytes another character
set.
"""

import base64
import bz2
import gzip
import json
import uuid
import zlib
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.support.messages import message

HEADERS = (
    *("task", "id", "shadow", "lang", "origin", "root_id", "parent_id", "group", "group_index", "eta", "expires"),
    *("retries", "timelimit", "argsrepr", "kwargsrepr", "ignore_result", "replaced_task_nesting", "stamped_headers"),
    *("stamps", "compression", "tick", "redrive", "anything", "headers", "taskset", "time_limit", "soft_time_limit"),
    *("callbacks", "errbacks", "chain", "chord", "utc", "args", "kwargs", "get", "update", "children", "hostname"),
    *("delivery_info", "properties", "reply_to", "correlation_id", "is_eager", "called_directly", "__class__"),
)
PROPERTIES = (
    *("delivery_tag", "delivery_info", "delivery_mode", "priority", "body_encoding", "correlation_id", "reply_to"),
    *("compression", "anything"),
)
DELIVERY = ("exchange", "routing_key", "redelivered", "priority", "consumer_tag")
PARTS = ("body", "headers", "properties", "content-type", "content-encoding", "anything")
EMBEDDED = ("callbacks", "errbacks", "chain", "chord", "id", "retries", "anything")
OPTIONS = (
    *("queue", "routing_key", "exchange", "countdown", "eta", "expires", "serializer", "compression", "link", "retry"),
    *("link_error", "priority", "task_id", "headers", "connection", "producer", "retry_policy", "shadow", "chord"),
    *("chain", "group_id", "time_limit", "stamped_headers", "declare", "args", "kwargs", "delivery_mode", "anything"),
)
SIGNATURE = ("task", "args", "kwargs", "options", "subtask_type", "immutable", "chord_size")
PARTS_OF = {"group": ["tasks"], "chain": ["tasks"], "chord": ["header", "body"], "xmap": ["task", "it"]}

CONTENT_TYPES = (
    *("application/json", "application/data", "application/text", "text/plain", "application/x-python-serialize"),
    *("application/x-yaml", "application/x-msgpack", "Application/JSON", "", None),
)
CONTENT_ENCODINGS = (
    "utf-8",
    "binary",
    "us-ascii",
    "utf-16",
    "bz2",
    "zlib",
    "rot13",
    "base64",
    "idna",
    "no such",
    "",
    None,
)
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": zlib.compress,
    "gzip": gzip.compress,
    "application/x-bz2": bz2.compress,
    "bzip2": bz2.compress,
    "zlib": zlib.compress,
    "no such": bytes,
}
CHARACTER_SETS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp500", "latin-1")
FORMS = (
    *COMPRESSIONS,
    "plain",
    *map("type {!r}".format, CONTENT_TYPES),
    *map("encoding {!r}".format, CONTENT_ENCODINGS),
)

TIMES = ("2020-01-01T00:00:00", "2020-01-01T00:00:00+00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")

PLAUSIBLE: dict[str, tuple[Any, ...]] = {
    "task": ("no.such.task",),
    "eta": TIMES[:2],
    "expires": TIMES[:2],
    "retries": (0, 5, 2**31 - 1),
    "timelimit": ([60, 30], [None, 0.5], [None, None]),
    "group_index": (0, 7),
    "ignore_result": (True, False),
    "replaced_task_nesting": (0, 1),
    "stamped_headers": ([], ["anything"]),
    "stamps": ({}, {"anything": [1]}, {"anything": {}}),
    "priority": (0, 3, 9, 255),
    "body_encoding": ("base64", "utf-8", ""),
    "delivery_mode": (1, 2, "2"),
    "redelivered": (True, False),
    "redrive": ({"redrive_of": "1", "redrives": "x"}, {"redrive_of": [], "run": {}}),
    "countdown": (0, -1),
    "serializer": ("json",),
    "retry": (True, False),
    "headers": ({}, {"anything": []}),
}
"""Values that Celery can use, so that what follows is tried too. Any other name is a name, or text."""


def _nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def _typed(kind: Any, value: Any) -> dict[str, Any]:
    return {"__type__": kind, "__value__": value}


texts = st.text(max_size=20) | st.sampled_from(["", "\0", "\ud800", "a\nb\x1b[31m", "\U0001f600", "x" * 5000, *TIMES])
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**31, 2**63, 10**4000, 1e308, True, False])
scalars = st.none() | numbers | texts
typed = st.builds(
    _typed,
    st.sampled_from(["bytes", "base64", "datetime", "date", "time", "decimal", "uuid", "no such"]) | scalars,
    scalars | st.sampled_from([{"hex": uuid.uuid4().hex}, {}, "2020-01-01T00:00:00"]),
)
json_values = st.recursive(
    scalars | typed,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
deep_values = st.sampled_from([99, 101, 600]).map(_nested)
values = json_values | deep_values


def _value_of(name: str) -> st.SearchStrategy[Any]:
    """Return values for a field: half of them of its type."""
    return st.sampled_from(PLAUSIBLE.get(name, ("a name", None))) | values


def _signature(task: Any, options: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    valid = {"task": task, "args": [], "kwargs": {}, "options": options, "subtask_type": None, "immutable": True}
    return {**valid, **changes}


@st.composite
def signatures(draw: st.DrawFn, tasks: st.SearchStrategy[str], levels: int = 2) -> Any:
    """Return a signature of Celery's canvas, nearly right."""
    if not levels or draw(st.booleans()):
        options = {}
        for name in draw(st.just([]) | st.lists(st.sampled_from(OPTIONS), max_size=2)):
            options[name] = draw(_value_of(name))
        changes = draw(st.just({}) | st.dictionaries(st.sampled_from(SIGNATURE), json_values, max_size=1))
        return _signature(draw(tasks), options, changes)
    inner = signatures(tasks, levels - 1)
    members = st.lists(inner, max_size=2) | json_values
    parts = {"tasks": members, "header": members, "body": inner, "task": inner, "it": values, "n": numbers}
    kind = draw(st.sampled_from(["group", "chain", "chord", "xmap", "xstarmap", "chunks", "no such"]))
    names = draw(st.just(PARTS_OF.get(kind, ())) | st.sets(st.sampled_from(sorted(parts))))
    kwargs = {name: draw(parts[name]) for name in sorted(names)}
    return _signature(f"celery.{kind}", {}, {"subtask_type": kind, "kwargs": kwargs})


class _Draft:
    """A message while it is changed: its arguments are not encoded yet."""

    def __init__(self, task: str, version: int) -> None:
        self.entry = message(task)
        identity = self.entry["headers"]["id"]
        self.arguments: Any = [[], {}, dict.fromkeys(EMBEDDED[:4])]
        if version == 1:
            self.entry["headers"] = {}
            self.arguments = {"task": task, "id": identity, "args": [], "kwargs": {}, "retries": 0}
        self.fields = self.entry["headers"] if version == 2 else self.arguments
        self.delivery = self.entry["properties"]["delivery_info"]
        self.embedded = self.arguments[2] if version == 2 else self.arguments


@st.composite
def _changed(draw: st.DrawFn, tasks: st.SearchStrategy[str]) -> _Draft:
    """Return a message with up to three changes."""
    draft = _Draft(draw(tasks), draw(st.sampled_from([2, 2, 1])))
    canvas = signatures(tasks)
    for _ in range(draw(st.integers(0, 3))):
        match draw(st.integers(0, 5)):
            case 0 | 1:
                name = draw(st.sampled_from(HEADERS))
                value = draw(_value_of(name))
                # Each id is another one: one id is one dead letter.
                draft.fields[name] = f"{value}{uuid.uuid4()}" if name == "id" and isinstance(value, str) else value
            case 2:
                name = draw(st.sampled_from(PROPERTIES))
                draft.entry["properties"][name] = draw(_value_of(name))
            case 3:
                name = draw(st.sampled_from(DELIVERY))
                draft.delivery[name] = draw(_value_of(name))
            case 4:
                name = draw(st.sampled_from(EMBEDDED))
                usual = canvas if name == "chord" else st.lists(canvas, max_size=2)
                draft.embedded[name] = draw(usual | usual | values)
            case _:
                draft.arguments = draw(values | st.tuples(values, values, values).map(list))
    return draft


def _written(draft: _Draft, form: str, part: tuple[str, Any] | None) -> bytes:
    """Return the message with its body in this form, and perhaps with another value in one of its parts."""
    text = json.dumps(draft.arguments)
    entry, properties, headers = draft.entry, draft.entry["properties"], draft.entry["headers"]
    entry["body"] = base64.b64encode(COMPRESSIONS.get(form, bytes)(text.encode())).decode()
    if form in COMPRESSIONS:
        headers["compression"] = form
    elif form == "plain":
        entry["body"], properties["body_encoding"] = text, None
    elif form.startswith("type "):
        entry["content-type"] = {repr(kind): kind for kind in CONTENT_TYPES}[form[5:]]
    elif form.startswith("encoding "):
        entry["content-encoding"] = {repr(name): name for name in CONTENT_ENCODINGS}[form[9:]]
    if part is not None:
        entry[part[0]] = part[1]
    return json.dumps(entry).encode()


@st.composite
def odd_messages(draw: st.DrawFn, *tasks: str) -> bytes:
    """Return a message of one of these tasks, as bytes of the queue, that is wrong in a few places, or in none."""
    names = st.sampled_from(tasks)
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return _written(_Draft(draw(names), 2), draw(st.sampled_from(FORMS)), None)
    if kind == 1:
        return _written(_Draft(draw(names), 2), "base64", (draw(st.sampled_from(PARTS)), draw(values)))
    raw = _written(draw(_changed(names)), "base64", None)
    return draw(_spoilt(raw)) if kind == 2 else raw


def _spoilt(raw: bytes) -> st.SearchStrategy[bytes]:
    """Return these bytes in another character set, cut, or with other bytes between them."""
    text = raw.decode()
    sets = st.sampled_from(CHARACTER_SETS).map(text.encode)
    cut = st.integers(0, len(raw)).map(lambda end: raw[:end])
    inserted = st.builds(
        lambda place, what: raw[:place] + what + raw[place:],
        st.integers(0, len(raw)),
        st.binary(min_size=1, max_size=8),
    )
    numbers_of_lua = st.sampled_from([b"0x10", b"nan", b"-inf", b"1."]).map(
        lambda number: raw.replace(b'"delivery_mode": 2', b'"delivery_mode": ' + number)
    )
    deep = st.sampled_from([b"[" * 100_000, b'{"a":' * 5000]).map(lambda what: raw[:-1] + b', "deep": ' + what)
    return sets | cut | inserted | numbers_of_lua | deep | st.binary(max_size=50)
