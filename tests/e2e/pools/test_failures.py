"""A table with a row for each way in which a clone can fail: one entry, in the right queue, its VM out of pending, its
slot free, its message gone, and the worker at work.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from tests.support import failing_provider, servers
from tests.support.failing_provider import NAME
from tests.support.messages import message, send
from tests.support.processes import ROOT, Installation, Process, until
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.tasks import registry as names

pytestmark = pytest.mark.slow(seconds=90)

POOLS = (*failing_provider.WAYS, "no address", "fine", "destroy fails")
"""One for each way to fail, of which it has the name."""

LIMITS = "task_soft_time_limit = 600\ntask_time_limit = 601\n"
SHORT_VISIBILITY = 'broker_transport_options = {**broker_transport_options, "visibility_timeout": 2}\n'


def configuration() -> str:
    pools = [{"name": pool, "size": 0, "template": pool} for pool in POOLS]
    options = {"manage_pools": True, "dlq_enabled": True, "lease_seconds": 2, "breaker_failures": 1000, "timeout": 0.25}
    return json.dumps({":config": options, ":providers": {NAME: {}}, ":pools": pools})


def install(url: str, folder: Path) -> Installation:
    own = Installation(url, folder, configuration())
    packages = failing_provider.installed(folder / "packages")
    own.environment["PYTHONPATH"] = os.pathsep.join((packages, str(ROOT)))
    return own


class Bench:
    """One worker for all rows of a table."""

    def __init__(self, installation: Installation, worker: Process) -> None:
        self.installation, self.worker = installation, worker
        self.db = Database(installation.environment["REDIS_URL"])

    def start_clone(self, pool: str) -> str:
        """Start a clone as the pool workers do: in pending with its metadata, and with a slot."""
        vm = f"vm-{uuid4().hex[:8]}"
        now = float(".".join(map(str, map(int, self.db.call("TIME")))))
        self.db.call("SADD", keys.queue(Queue.PENDING, pool), vm)
        self.db.call("HSET", keys.vm(vm.encode()), "clone", ruby_utc(moment(now)), "pool", pool, "template", pool)
        self.db.call("ZADD", keys.POOL_SLOTS.key, now + 600, vm)
        return vm

    def dead_letters(self) -> list[dict[str, Any]]:
        raws = [raw for queue in DeadLetterQueue for raw in self.db.call("ZRANGE", keys.dead_letters(queue), 0, -1)]
        return [json.loads(raw) for raw in raws]

    def dead_letters_about(self, what: str) -> list[dict[str, Any]]:
        return [
            dead_letter
            for dead_letter in self.dead_letters()
            if what in (dead_letter.get("vm"), dead_letter.get("task_id"))
        ]

    def works(self) -> None:
        """The worker makes an ordinary VM; then no message waits any more, or is unacknowledged."""
        vm = self.start_clone("fine")
        send(self.db, clone(vm, "fine"), names.CLONE_QUEUE)
        until(lambda: self.db.call("SISMEMBER", keys.queue(Queue.READY, "fine"), vm), f"{vm} is made: {self.tail()}")
        until(lambda: self.waiting() == 0, "the queues and `unacked` are empty")

    def waiting(self) -> int:
        return int(sum(self.db.call("LLEN", queue) for queue in names.QUEUES) + self.db.call("HLEN", "unacked"))

    def tail(self) -> str:
        return self.worker.log[-2000:]

    def is_out(self, vm: str, pool: str) -> None:
        assert not self.db.call("SISMEMBER", keys.queue(Queue.PENDING, pool), vm)
        assert self.db.call("ZSCORE", keys.POOL_SLOTS.key, vm) is None
        assert int(self.db.call("GET", keys.POOL_SLOTS.counter) or 0) == self.db.call("ZCARD", keys.POOL_SLOTS.key)


def clone(vm: str, pool: str, **headers: Any) -> dict[str, Any]:
    entry = message(names.CLONE_VM, kwargs={"vm": vm, "pool": pool}, headers=headers)
    entry["properties"]["delivery_info"]["routing_key"] = names.CLONE_QUEUE
    return entry


@pytest.fixture(scope="module", params=["prefork", "threads"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("pool-failures")
    with servers.running("valkey", folder / "server") as server, install(server.url, folder) as installation:
        own = Bench(installation, installation.worker("-P", request.param, worker_concurrency=2))
        yield own
        own.db.close()


only_prefork = pytest.mark.parametrize("bench", ["prefork"], indirect=True)
"""Where each task has a process of its own, which can be killed."""


def fails(bench: Bench, pool: str, **headers: Any) -> dict[str, Any]:
    """Return the only dead letter that a clone in this pool leaves; everything else is as it should be."""
    vm = bench.start_clone(pool)
    send(bench.db, clone(vm, pool, **headers), names.CLONE_QUEUE)
    until(lambda: bench.dead_letters_about(vm), lambda: f"a dead letter of {vm} in {pool}: {bench.tail()}")
    bench.works()
    dead_letters = bench.dead_letters_about(vm)
    assert len(dead_letters) == 1, dead_letters
    bench.is_out(vm, pool)
    assert dead_letters[0]["queue_from"] == "clone"
    assert dead_letters[0]["pool"] == pool
    return dead_letters[0]


@pytest.mark.parametrize(
    ("way", "error_class", "text"),
    [
        ("permanent", "PermanentProviderError", "template x does not exist"),
        ("transient", "TransientProviderError", "the line broke"),
        ("throttled", "ThrottledProviderError", "too many requests"),
        ("bug", "AttributeError", "no attribute 'clone'"),
        ("foreign error", "ConnectionResetError", "reset by peer, password=[redacted]"),
        ("no address", "StandardError", "failed to obtain IP after "),
        ("exit", "EndedProcessError", "SystemExit: 3"),
        ("interrupt", "EndedProcessError", "KeyboardInterrupt"),
        ("memory", "EndedProcessError", "MemoryError: no more"),
        ("hang", "ProviderTimeoutError", "no reply within "),
    ],
)
def test_a_failed_clone_is_one_dead_letter_in_clone(bench: Bench, way: str, error_class: str, text: str) -> None:
    dead_letter = fails(bench, way)
    assert dead_letter["error_class"] == error_class
    assert text in dead_letter["error_message"]


@pytest.mark.parametrize("way", ["end of process", "kill of process"])
@only_prefork
def test_a_clone_whose_process_is_killed_each_time_is_one_dead_letter(bench: Bench, way: str) -> None:
    assert fails(bench, way)["error_class"] in ("WorkerLostError", "WorkerDiedError")


@only_prefork
def test_a_clone_beyond_the_soft_time_limit_is_one_dead_letter(bench: Bench) -> None:
    assert fails(bench, "hang", timelimit=[None, 1])["error_class"] == "SoftTimeLimitExceeded"


def test_a_clone_beyond_the_hard_time_limit_is_one_dead_letter(tmp_path: Path) -> None:
    """Celery comes to the hard limit only where there is no soft one, or where it was not heeded."""
    with servers.running("valkey", tmp_path / "server") as server, install(server.url, tmp_path) as installation:
        installation.deploy("task_soft_time_limit = None\ntask_time_limit = 1\n")
        own = Bench(installation, installation.worker())
        assert fails(own, "hang")["error_class"] == "TimeLimitExceeded"
        own.db.close()


def test_a_clone_that_nobody_took_in_time_is_one_dead_letter(bench: Bench) -> None:
    assert fails(bench, "fine", expires="2024-01-15T10:30:00+00:00")["error_class"] == "TaskRevokedError"


def test_a_revoked_clone_is_one_dead_letter(bench: Bench) -> None:
    vm, entry = bench.start_clone("fine"), None
    entry = clone(vm, "fine")
    with Celery("tests", broker=bench.installation.environment["REDIS_URL"], set_as_current=False) as client:
        client.control.revoke(entry["headers"]["id"])
    bench.worker.says(entry["headers"]["id"])
    send(bench.db, entry, names.CLONE_QUEUE)
    until(lambda: bench.dead_letters_about(vm), lambda: f"a dead letter: {bench.tail()}")
    bench.works()
    assert [entry["error_message"] for entry in bench.dead_letters_about(vm)] == ["the task was revoked"]
    bench.is_out(vm, "fine")


def test_a_clone_for_a_pool_that_nobody_configured_is_one_dead_letter_in_clone(bench: Bench) -> None:
    dead_letter = fails(bench, "no-such-pool")
    assert dead_letter["error_class"] == "InvalidInputError"


def test_a_clone_with_wrong_arguments_is_one_dead_letter_in_tasks(bench: Bench) -> None:
    entry = message(names.CLONE_VM, kwargs={"pool": "fine", "colour": "red"})
    send(bench.db, entry, names.CLONE_QUEUE)
    until(lambda: bench.dead_letters_about(entry["headers"]["id"]), lambda: f"a dead letter: {bench.tail()}")
    bench.works()
    dead_letters = bench.dead_letters_about(entry["headers"]["id"])
    assert [(entry["queue_from"], entry["error_class"]) for entry in dead_letters] == [("tasks", "TypeError")]


def test_garbage_in_the_queue_of_clones_is_one_dead_letter_in_tasks(bench: Bench) -> None:
    before = len(bench.dead_letters())
    send(bench.db, b"\x80garbage", names.CLONE_QUEUE)
    bench.works()
    assert [entry["error_class"] for entry in bench.dead_letters()[before:]] == ["UndecodableMessage"]


def test_a_failed_destruction_is_one_dead_letter_an_hour_and_is_tried_again(bench: Bench) -> None:
    vm, pool = bench.start_clone("fine"), "destroy fails"
    bench.db.call("SMOVE", keys.queue(Queue.PENDING, "fine"), keys.queue(Queue.COMPLETED, pool), vm)
    bench.db.call("ZREM", keys.POOL_SLOTS.key, vm)
    for _ in range(2):
        entry = message(names.DESTROY_VM, kwargs={"vm": vm, "pool": pool})
        said = bench.worker.log.count("failed while destroying the VM")
        send(bench.db, entry, names.DESTROY_QUEUE)
        bench.worker.says("failed while destroying the VM", said + 1)
    bench.works()
    dead_letters = bench.dead_letters_about(vm)
    assert [(entry["queue_from"], entry["task"]) for entry in dead_letters] == [("tasks", names.DESTROY_VM)]
    assert bench.db.call("SISMEMBER", keys.queue(Queue.COMPLETED, pool), vm)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_clone_that_kills_its_worker_each_time_ends_as_a_dead_letter(pool: str, tmp_path: Path) -> None:
    """A service manager restarts the worker each time. Its message comes back, but not for ever."""
    with servers.running("valkey", tmp_path / "server") as server, install(server.url, tmp_path) as installation:
        installation.deploy(LIMITS + SHORT_VISIBILITY)
        worker = installation.worker("-P", pool)
        own = Bench(installation, worker)
        vm = own.start_clone("kill of worker")
        send(own.db, clone(vm, "kill of worker"), names.CLONE_QUEUE)

        def is_reported() -> bool:
            if not worker.running:
                worker.start().says(" ready.")
            return bool(own.dead_letters_about(vm))

        until(is_reported, lambda: f"a dead letter: {own.tail()}", seconds=120, pause=0.2)
        own.works()
        (dead_letter,) = own.dead_letters_about(vm)
        assert dead_letter["error_class"] in ("TooManyDeliveriesError", "WorkerDiedError"), "by message, or by VM"
        assert dead_letter["queue_from"] == "clone"
        own.is_out(vm, "kill of worker")
        own.db.close()
