"""Whatever goes wrong with a task or a message becomes one dead letter, and the worker goes on."""

import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support import servers
from tests.support.failing_tasks import PREFIX
from tests.support.messages import message, nothing_waits, send
from tests.support.processes import Installation, Process, until
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.redrive import Lineage, RunOptions
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.tasks.celery.failures import MAX_RAW

pytestmark = pytest.mark.slow

DEAD_LETTERS = keys.dead_letters(DeadLetterQueue.TASKS)


class Bench:
    """One worker for all tests of this module, whose tasks fail as ordered."""

    def __init__(self, installation: Installation, worker: Process) -> None:
        self.installation, self.worker = installation, worker
        self.db = Database(installation.environment["REDIS_URL"])

    def dead_letters(self) -> list[dict[str, Any]]:
        return [json.loads(raw) for raw in self.db.call("ZRANGE", DEAD_LETTERS, 0, -1)]

    def dead_letters_after(self, *entries: dict[str, Any] | bytes) -> list[dict[str, Any]]:
        """The dead letters that these messages leave, once the worker has run a task that came after them."""
        before = self.dead_letters()
        for entry in entries:
            send(self.db, entry)
        self.works()
        return [dead_letter for dead_letter in self.dead_letters() if dead_letter not in before]

    def works(self) -> None:
        """The worker runs an ordinary task; then nothing waits any more, in the queue or unacknowledged."""
        last = message(f"{PREFIX}.succeed")
        send(self.db, last)
        self.worker.says(f"{PREFIX}.succeed[{last['headers']['id']}] succeeded")
        until(lambda: nothing_waits(self.db), "the queue and `unacked` are empty")


@pytest.fixture(scope="module", params=["prefork", "threads"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("failures")
    with servers.running("valkey", folder / "server") as server, Installation(server.url, folder) as installation:
        own = Bench(installation, installation.worker("-P", request.param, tasks=PREFIX))
        yield own
        own.db.close()


only_prefork = pytest.mark.parametrize("bench", ["prefork"], indirect=True)
"""Where each task has a process of its own, which can be killed."""


def fails(bench: Bench, entry: dict[str, Any]) -> dict[str, Any]:
    """The one dead letter that this task leaves, whose common fields are as they should be."""
    dead_letters = bench.dead_letters_after(entry)
    assert [dead_letter["task_id"] for dead_letter in dead_letters] == [entry["headers"]["id"]]
    dead_letter = dead_letters[0]
    assert dead_letter["task"] == entry["headers"]["task"]
    assert dead_letter["queue_from"] == "tasks"
    assert dead_letter["failed_at"].endswith("Z")
    failed_at = parse_time(dead_letter["failed_at"].encode())
    assert failed_at is not None
    assert bench.db.call("ZSCORE", DEAD_LETTERS, raw_dead_letter(bench, dead_letter["id"])) == int(
        failed_at.timestamp()
    )
    return dead_letter


def raw_dead_letter(bench: Bench, dead_letter_id: str) -> bytes:
    raws: list[bytes] = bench.db.call("ZRANGE", DEAD_LETTERS, 0, -1)
    return next(raw for raw in raws if json.loads(raw)["id"] == dead_letter_id)


def test_an_exception_is_kept_with_its_traceback_and_without_secrets(bench: Bench) -> None:
    dead_letter = fails(
        bench,
        message(
            f"{PREFIX}.raise_an_error",
            "über",
            7,
            {"api_token": "s3cr3t"},
            kwargs={"vm": "pooler-sad-dog", "pool": "centos", "password": "hunter2", "url": "redis://:hunter2@r/0"},
        ),
    )
    assert dead_letter["error_class"] == "TemplateNotFoundError"
    assert dead_letter["error_message"] == "no template at https://[redacted]@vcenter/t, password=[redacted]"
    assert dead_letter["args"] == ["über", 7, {"api_token": "[redacted]"}]
    assert dead_letter["kwargs"] == {
        "vm": "pooler-sad-dog",
        "pool": "centos",
        "password": "[redacted]",
        "url": "redis://[redacted]@r/0",
    }
    assert (dead_letter["vm"], dead_letter["pool"], dead_letter["retry_count"]) == ("pooler-sad-dog", "centos", 0)
    assert "raise TemplateNotFoundError" in dead_letter["traceback"]
    raw = raw_dead_letter(bench, dead_letter["id"])
    assert b"hunter2" not in raw
    assert b"s3cr3t" not in raw
    assert "über".encode() in raw


def test_wrong_arguments_are_kept(bench: Bench) -> None:
    dead_letter = fails(bench, message(f"{PREFIX}.take_two", 1, 2, 3))
    assert dead_letter["error_class"] == "TypeError"
    assert dead_letter["args"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("task", "said"), [("exit_the_process", "SystemExit: 3"), ("run_out_of_memory", "MemoryError: no more")]
)
def test_a_task_that_would_end_its_process_fails_like_any_other(bench: Bench, task: str, said: str) -> None:
    dead_letter = fails(bench, message(f"{PREFIX}.{task}"))
    assert dead_letter["error_class"] == "EndedProcessError"
    assert said in dead_letter["error_message"]


def test_a_rejected_task_is_kept(bench: Bench) -> None:
    assert fails(bench, message(f"{PREFIX}.reject"))["error_class"] == "Reject"


def test_an_answer_that_cannot_be_stored_is_kept(bench: Bench) -> None:
    assert "Encod" in fails(bench, message(f"{PREFIX}.answer_with_an_object"))["error_class"]


def test_exhausted_retries_are_one_dead_letter_that_counts_them(bench: Bench) -> None:
    entry = message(f"{PREFIX}.try_again")
    send(bench.db, entry)
    until(
        lambda: any(dead_letter["task_id"] == entry["headers"]["id"] for dead_letter in bench.dead_letters()),
        "it gives up",
    )
    bench.works()
    dead_letters = [
        dead_letter for dead_letter in bench.dead_letters() if dead_letter["task_id"] == entry["headers"]["id"]
    ]
    assert [(dead_letter["error_class"], dead_letter["retry_count"]) for dead_letter in dead_letters] == [
        ("TemplateNotFoundError", 1)
    ]


@pytest.mark.parametrize("task", ["vanish", "kill_itself"])
@only_prefork
def test_a_killed_process_is_one_dead_letter(bench: Bench, task: str) -> None:
    assert fails(bench, message(f"{PREFIX}.{task}"))["error_class"] == "WorkerLostError"


@only_prefork
def test_the_soft_time_limit_is_kept(bench: Bench) -> None:
    dead_letter = fails(bench, message(f"{PREFIX}.sleep", 60, headers={"timelimit": [None, 1]}))
    assert dead_letter["error_class"] == "SoftTimeLimitExceeded"


@only_prefork
def test_the_hard_time_limit_is_one_dead_letter_although_it_is_signalled_twice(bench: Bench) -> None:
    dead_letter = fails(bench, message(f"{PREFIX}.sleep_on", 60, headers={"timelimit": [2, 1]}))
    assert dead_letter["error_class"] == "TimeLimitExceeded"
    assert dead_letter["args"] == [60]


def followed(task: str, *args: Any, place: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """A task that is followed by another one, whose queue does not exist."""
    options = {"queue": "no such queue"}
    next_task = {"task": f"{PREFIX}.succeed", "args": [], "kwargs": {}, "options": options, "immutable": True}
    content = json.dumps([args, {}, {place: [next_task]}]).encode()
    return message(f"{PREFIX}.{task}", headers=headers, body=base64.b64encode(content).decode())


@pytest.mark.parametrize(
    ("task", "place"), [("succeed", "callbacks"), ("succeed", "chain"), ("raise_an_error", "errbacks")]
)
def test_a_task_whose_next_task_cannot_be_sent_is_kept(bench: Bench, task: str, place: str) -> None:
    """Celery reports nothing: with processes the failure would be lost, with threads the message would stay."""
    assert "no such queue" in fails(bench, followed(task, place=place))["traceback"]


@only_prefork
def test_a_time_limit_is_kept_if_the_next_task_cannot_be_sent(bench: Bench) -> None:
    entry = followed("sleep_on", 60, place="errbacks", headers={"timelimit": [2, 1]})
    assert fails(bench, entry)["error_class"] == "TimeLimitExceeded"


def test_an_unknown_task_is_kept_with_its_arguments(bench: Bench) -> None:
    dead_letter = fails(bench, message("vmpooler_tasks.no_such_task", 1, kwargs={"token": "s3cr3t", "pool": "p"}))
    assert dead_letter["error_class"] == "NotRegistered"
    assert (dead_letter["args"], dead_letter["kwargs"]) == ([1], {"token": "[redacted]", "pool": "p"})


@pytest.mark.parametrize("way", ["unknown", "revoked", "expired", "raised"])
def test_a_redriven_task_that_fails_again_counts_whichever_way_it_fails(bench: Bench, way: str) -> None:
    run = f"run-{way}"
    origin = Lineage(dead_letter_id="0123456789abcdef", redrives=2, retry_count=5, run=run)
    runs.start(bench.db, run, [], RunOptions(who="anna", why=None), now=1)
    task = {"unknown": "vmpooler_tasks.no_such_task", "raised": f"{PREFIX}.raise_an_error"}.get(
        way, f"{PREFIX}.succeed"
    )
    expires = {"expires": "2024-01-15T10:30:00+00:00"} if way == "expired" else {}
    entry = message(task, headers={"redrive": origin.as_fields(), **expires})
    if way == "revoked":
        revoke(bench, entry)
    dead_letter = fails(bench, entry)
    found = (dead_letter["redrives"], dead_letter["retry_count"], dead_letter["redrive_of"])
    assert found == (2, 5, "0123456789abcdef")
    stood = runs.read(bench.db, run)
    assert stood is not None
    assert stood.counts["failed_again"] == 1


def test_the_same_failure_delivered_twice_is_one_dead_letter(bench: Bench) -> None:
    entry = message(f"{PREFIX}.raise_an_error", "twice")
    failed_at = parse_time(fails(bench, entry)["failed_at"].encode())
    assert failed_at is not None
    until(lambda: int(bench.db.call("TIME")[0]) > failed_at.timestamp(), "a second failure would have another time")
    assert bench.dead_letters_after(entry) == []
    assert bench.worker.log.count(f"{PREFIX}.raise_an_error[{entry['headers']['id']}] received") == 2


def revoke(bench: Bench, entry: dict[str, Any]) -> None:
    """Before it is sent."""
    with Celery("tests", broker=bench.installation.environment["REDIS_URL"], set_as_current=False) as client:
        client.control.revoke(entry["headers"]["id"])
    bench.worker.says(entry["headers"]["id"])


def test_a_revoked_task_is_kept(bench: Bench) -> None:
    entry = message(f"{PREFIX}.succeed")
    revoke(bench, entry)
    dead_letter = fails(bench, entry)
    assert (dead_letter["error_class"], dead_letter["error_message"]) == ("TaskRevokedError", "the task was revoked")


@only_prefork
def test_a_terminated_task_is_one_dead_letter(bench: Bench) -> None:
    entry = message(f"{PREFIX}.sleep", 60)
    send(bench.db, entry)
    bench.worker.says(f"{PREFIX}.sleep[{entry['headers']['id']}] received")
    with Celery("tests", broker=bench.installation.environment["REDIS_URL"], set_as_current=False) as client:
        client.control.revoke(entry["headers"]["id"], terminate=True)
    bench.works()
    dead_letters = [
        dead_letter for dead_letter in bench.dead_letters() if dead_letter["task_id"] == entry["headers"]["id"]
    ]
    assert [dead_letter["error_message"] for dead_letter in dead_letters] == ["the task was terminated"]


def test_a_task_that_nobody_took_in_time_is_kept_unless_it_is_a_tick(bench: Bench) -> None:
    long_ago = "2024-01-15T10:30:00+00:00"
    dead_letter = fails(bench, message(f"{PREFIX}.succeed", headers={"expires": long_ago}))
    assert dead_letter["error_message"] == "the task was expired"
    assert bench.dead_letters_after(message(f"{PREFIX}.succeed", headers={"expires": long_ago, "tick": True})) == []


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def spoilt(**parts: Any) -> dict[str, Any]:
    return message(f"{PREFIX}.succeed", **parts)


OLD_FORM = {"task": f"{PREFIX}.succeed", "id": "old", "args": [], "kwargs": {}}
"""The body of a message of Celery 3, which has no headers."""

GARBAGE: dict[str, dict[str, Any] | bytes] = {
    "not JSON": b"\x80\x04garbage \xff",
    "a JSON list": b'["a", "list"]',
    "a JSON string": b'"text"',
    "null": b"null",
    "an empty object": b"{}",
    "nothing": b"",
    "no headers": {name: part for name, part in spoilt().items() if name != "headers"},
    "no body": {name: part for name, part in spoilt().items() if name != "body"},
    "properties of a wrong shape": spoilt(properties=[1]),
    "delivery_info without content": spoilt(properties={"delivery_tag": "t", "delivery_info": {}}),
    "a body that is not base64": spoilt(body="%%%"),
    "a body that is a number": spoilt(body=7),
    "a JSON body of the wrong shape": spoilt(body=base64_of('{"a": 1}')),
    "a JSON body that is too short": spoilt(body=base64_of("[[]]")),
    "a JSON body with arguments that are none": spoilt(body=base64_of("[1, 2, 3]")),
    "a body that is not JSON": spoilt(body=base64_of("{]")),
    "a pickle": spoilt(**{"content-type": "application/x-python-serialize"}),
    "an unknown content type": spoilt(**{"content-type": "text/nonsense"}),
    "a content type that is a list": spoilt(**{"content-type": ["text"]}),
    "an unknown compression": spoilt(headers={"compression": "application/nonsense"}),
    "no task's name": spoilt(headers={"task": None}),
    "a task's name that is a list": spoilt(headers={"task": ["x"]}),
    "another name that is a list": spoilt(headers={"shadow": ["x"]}),
    "an id that is a list": spoilt(headers={"id": ["x"]}),
    "a time limit that is none": spoilt(headers={"timelimit": "soon"}),
    "a count of retries that is none": spoilt(headers={"retries": "often"}),
    "an expiry that is none": spoilt(headers={"expires": "soon"}),
    "an unreadable time to start": spoilt(headers={"eta": "soon"}),
    "stamps that are no list": spoilt(headers={"stamped_headers": 5}),
    "a time to start that is an object": spoilt(headers={"eta": {}}),
    "an expiry that is a list": spoilt(headers={"expires": []}),
    "a group that is a number": spoilt(headers={"group": 5}),
    "a content type that kombu does not decode": spoilt(**{"content-type": "application/data"}),
    "a known compression": spoilt(headers={"compression": "application/x-bz2"}),
    "callbacks that are text": spoilt(body=base64_of('[[], {}, {"callbacks": "x", "errbacks": "x"}]')),
    "a chord that is a number": spoilt(body=base64_of('[[], {}, {"chord": 5, "chain": 5}]')),
    "arguments nested deeply": spoilt(body=base64_of("[[" + "[" * 5000 + "]" * 5000 + "], {}, {}]")),
    "lists nested 50,000 deep": b"[" * 50_000,
    "neither headers nor a task": spoilt() | {"headers": {}, "body": base64_of('{"a": 1}')},
    "an old form without an id": spoilt() | {"headers": {}, "body": base64_of(json.dumps(OLD_FORM | {"id": None}))},
}


@pytest.mark.parametrize("what", GARBAGE)
def test_what_is_no_task_message_is_one_dead_letter_that_keeps_it(bench: Bench, what: str) -> None:
    garbage = GARBAGE[what]
    dead_letters = bench.dead_letters_after(garbage)
    assert len(dead_letters) == 1
    dead_letter = dead_letters[0]
    assert dead_letter["queue_from"] == "tasks"
    assert dead_letter["error_message"]
    assert holds(dead_letter, garbage), dead_letter


def holds(dead_letter: dict[str, Any], garbage: dict[str, Any] | bytes) -> bool:
    """Whether the message, or at least its body, can be got back from the dead letter."""
    kept = base64.b64decode(dead_letter["args"][0])
    if isinstance(garbage, bytes):
        return kept == garbage[:MAX_RAW]
    with suppress(ValueError):
        if json.loads(kept) == garbage:
            return True
    return kept in (base64.b64decode(garbage["body"]), str(garbage["body"]).encode())


def test_a_message_that_cannot_be_decoded_is_kept_without_the_secrets_in_it(bench: Bench) -> None:
    arguments = base64_of(json.dumps([["Bearer s3cr3t"], {"password": "s3cr3t"}, {}]))
    dead_letters = bench.dead_letters_after(b"garbage password=s3cr3t", spoilt(body=arguments, properties=[1]))
    kept = [base64.b64decode(dead_letter["args"][0]) for dead_letter in dead_letters]
    assert b"garbage password=[redacted]" in kept
    (message_kept,) = (json.loads(raw) for raw in kept if raw.startswith(b"{"))
    assert json.loads(base64.b64decode(message_kept["body"])) == [
        ["Bearer [redacted]"],
        {"password": "[redacted]"},
        {},
    ]


def test_a_flood_of_garbage_does_not_stop_the_worker(bench: Bench) -> None:
    dead_letters = bench.dead_letters_after(*(f"garbage {number}".encode() for number in range(50)))
    assert sorted(int(base64.b64decode(dead_letter["args"][0]).split()[1]) for dead_letter in dead_letters) == list(
        range(50)
    )


def test_without_dead_letters_a_failure_is_only_logged(installation: Installation, database: Database) -> None:
    installation.configure(dlq_enabled=False)
    own = Bench(installation, installation.worker(tasks=PREFIX))
    assert own.dead_letters_after(message(f"{PREFIX}.raise_an_error"), b"garbage", message("no.such.task")) == []
    assert database.call("EXISTS", DEAD_LETTERS) == 0
    own.worker.says("TemplateNotFoundError")
    own.db.close()
