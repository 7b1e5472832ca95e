"""What is kept of a message or of arguments that nobody expects: bounded, without secrets, and without an error."""

import base64
import json
from typing import Any

import pytest

from tests.support.world import World, settings
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.redaction import MAX_DEPTH, MAX_PARSED_BYTES, TOO_DEEP, redacted_bytes
from vmpooler_tasks.tasks.broker.parsing import MAX_MESSAGE_BYTES
from vmpooler_tasks.tasks.celery import failures
from vmpooler_tasks.tasks.celery.failures import CIRCULAR, MAX_RAW, FailedTask, keep_failed_task, plain

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(failures, "database", lambda: world.db)
    monkeypatch.setattr(failures, "settings", settings)


class Mute:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def circular() -> Any:
    around: dict[str, Any] = {"vm": "pooler-a"}
    around["again"] = [around, around]
    return around


def is_plain(value: Any) -> bool:
    return bool(json.loads(json.dumps(value)) == value)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 900, 100_000])
def test_deep_arguments_are_cut(levels: int) -> None:
    found = plain(deep(levels))
    for _ in range(MAX_DEPTH):
        [found] = found
    assert found == TOO_DEEP


def test_arguments_within_themselves_are_cut() -> None:
    assert plain(circular()) == {"vm": "pooler-a", "again": [CIRCULAR, CIRCULAR]}
    twice = ["x"]
    assert plain([twice, twice]) == [["x"], ["x"]], "twice beside each other is no circle"


@pytest.mark.parametrize(
    "value",
    [Mute(), {"a": Mute()}, {(1, 2): 3}, {Mute(): 1}, 10**5000, {"a": {1, 2}}, b"\xff", "\ud800", {1: None}, deep(99)],
    ids=lambda value: type(value).__name__,
)
def test_any_value_becomes_json(value: Any) -> None:
    assert is_plain(plain([value]))


@pytest.mark.parametrize("value", [deep(100_000), circular(), {"x": Mute()}], ids=["deep", "circular", "mute"])
def test_a_task_that_failed_with_odd_arguments_becomes_a_dead_letter(world: World, value: Any) -> None:
    arguments = plain({"vm": "pooler-a", "odd": value, "password": SECRET})
    failed = FailedTask(
        name="a.task", task_id="id", args=plain([value]), kwargs=arguments, retries=0, error=RuntimeError("no")
    )
    keep_failed_task(failed)
    [entry] = query.find(world.db, DeadLetterFilter())
    fields = json.loads(entry.raw)
    assert (fields["vm"], fields["task"]) == ("pooler-a", "a.task")
    assert SECRET.encode() not in entry.raw


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES + 1, 3 * MAX_MESSAGE_BYTES])
def test_a_message_beyond_the_bound_is_kept_by_its_start(
    world: World, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    seen = list[int]()

    def seen_redacted(raw: bytes) -> bytes:
        seen.append(len(raw))
        return redacted_bytes(raw)

    monkeypatch.setattr(failures, "redacted_bytes", seen_redacted)
    start = json.dumps({"kwargs": {"credentials": {"user": "u", "value": SECRET}}, "password": ["s3cr3t" * 10_000]})
    raw = start.encode()[:-3].ljust(size, b"[")
    assert failures.keep_raw_message(raw, "too large")
    assert seen == [MAX_RAW]
    [entry] = query.find(world.db, DeadLetterFilter())
    fields = json.loads(entry.raw)
    kept = base64.b64decode(fields["args"][0])
    assert kept == json.dumps({"kwargs": {"credentials": 0}}).encode().replace(
        b"0}}", b"[redacted]}, " + b'"password": [redacted]'
    )
    assert fields["kwargs"]["bytes"] == size
    assert "args" in fields["cut"]


def test_a_large_message_within_the_bound_is_not_parsed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b'{"secret": {"a": "' + SECRET.encode() + b'"}, "x": "' + b"x" * MAX_PARSED_BYTES + b'"}'
    parsed = list[Any]()
    with monkeypatch.context() as patch:
        patch.setattr(json, "loads", parsed.append)
        kept = redacted_bytes(raw)
    assert parsed == []
    assert kept.startswith(b'{"secret": [redacted], "x": "xxx')
    assert failures.keep_raw_message(raw, "no task")
    [entry] = query.find(world.db, DeadLetterFilter())
    assert json.loads(entry.raw)["cut"]["args"]["bytes"] == len(kept)
