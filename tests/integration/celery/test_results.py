"""Results and the channels that announce them are read from a Redis to which others may write."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, states
from celery.backends.base import compress_payload
from celery.result import AsyncResult
from hypothesis import given

from tests.support.fuzzing import fuzzed
from tests.support.odd_messages import json_values
from tests.support.processes import until
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.celery.results import ResultBackend

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # by Celery

KEY = "celery-task-meta-some-id"
GOOD = {"status": "SUCCESS", "result": 5, "traceback": None, "children": [], "task_id": "some-id"}
FAILED = {"exc_type": "ValueError", "exc_message": ["x"], "exc_module": "builtins"}

JUNK: tuple[Any, ...] = (
    *(b"5", b"[]", b"null", b"x", b"\xff\x00", b"[" * 100_000, b'{"__type__": "bytes", "__value__": 5}'),
    *({}, {"status": 5}, {"status": "SUCCESS"}, {**GOOD, "status": []}, {**GOOD, "task_id": {}}),
    *({**GOOD, "children": 5}, {**GOOD, "children": [[5]]}, {**GOOD, "status": "FAILURE", "result": {"exc_type": 5}}),
    {**GOOD, "status": "FAILURE", "result": {**FAILED, "exc_type": "Popen", "exc_module": "subprocess"}},
)


@pytest.fixture
def backend(valkey: TestServer) -> Iterator[ResultBackend]:
    with Celery("results", set_as_current=False) as app:
        yield ResultBackend(app=app, url=valkey.url)


def raw(junk: Any) -> bytes:
    return junk if isinstance(junk, bytes) else json.dumps(junk).encode()


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: raw(junk)[:60].decode("latin-1"))
def test_junk_in_the_place_of_a_result_counts_as_missing(junk: Any, backend: ResultBackend, db: Database) -> None:
    db.call("SET", KEY, raw(junk))
    assert backend.get_task_meta("some-id", cache=False)["status"] == states.PENDING
    backend.store_result("some-id", 7, states.SUCCESS)
    assert backend.get_task_meta("some-id", cache=False)["result"] == 7


def test_key_of_another_type_counts_as_missing(backend: ResultBackend, db: Database) -> None:
    db.call("RPUSH", KEY, "x")
    assert backend.get_task_meta("some-id", cache=False)["status"] == states.PENDING


def test_result_that_is_valid_is_returned(backend: ResultBackend, db: Database) -> None:
    db.call("SET", KEY, json.dumps(GOOD))
    assert backend.get_task_meta("some-id", cache=False)["result"] == 5
    db.call("SET", KEY, json.dumps({**GOOD, "status": "FAILURE", "result": FAILED}))
    assert repr(backend.get_task_meta("some-id", cache=False)["result"]) == "ValueError('x')"


def test_compressed_result_is_not_unpacked(backend: ResultBackend, db: Database) -> None:
    db.call("SET", KEY, compress_payload(json.dumps({**GOOD, "result": "x" * 10**6}).encode(), "gzip"))
    assert backend.get_task_meta("some-id", cache=False)["status"] == states.PENDING


def test_junk_on_the_channel_of_a_result_does_not_end_the_wait(backend: ResultBackend, db: Database) -> None:
    got: list[Any] = []
    result = AsyncResult("some-id", backend=backend)
    backend.add_pending_result(result)
    waiting = threading.Thread(target=lambda: got.append(result.get(timeout=60)))
    waiting.start()
    until(lambda: db.call("PUBSUB", "NUMSUB", KEY)[1] == 1, "it waits for the result")
    for junk in JUNK:
        db.call("PUBLISH", KEY, raw(junk))
    db.call("PUBLISH", KEY, json.dumps(GOOD))
    waiting.join(60)
    result.forget()
    assert got == [5]


READER = ResultBackend(app=Celery("reader", set_as_current=False), url="redis://")
"""Reads results without a connection."""


@fuzzed(100)
@given(json_values)
def test_any_result_is_readable_or_missing(value: Any) -> None:
    for payload in (value, {**GOOD, "result": value}, {**GOOD, "status": "FAILURE", "result": value}):
        assert "status" in READER.decode_result(json.dumps(payload))
