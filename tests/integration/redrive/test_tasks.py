"""Failed tasks run again: the same message in the right queue, once, and nothing that comes again by itself."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.support.cycles import counters
from tests.support.redriver import Redriver
from tests.support.servers import TestServer
from tests.support.world import POOL
from vmpooler_tasks.errors import InvalidInputError, StoreUnavailableError
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.redrive import Lineage, read_lineage
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.redrive.steps import TaskMessage
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.celery.app import app
from vmpooler_tasks.tasks.redrive import RedriveBroker
from vmpooler_tasks.tasks.task_message import build_message

pytestmark = pytest.mark.both_servers

TASK_QUEUES = {"t.t": names.MAINTENANCE_QUEUE, names.PURGE: names.MAINTENANCE_QUEUE, names.CLONE_VM: names.CLONE_QUEUE}
TICKS = (
    names.CHECK_POOLS,
    names.CHECK_POOL,
    names.PROCESS_REQUESTS,
    names.CHECK_PENDING_VM,
    names.CHECK_READY_VM,
    names.CHECK_RUNNING_VM,
    names.MARK_VM,
    names.PURGE_UNCONFIGURED,
)


def lineage_without_attempts(sent: Any) -> Lineage:
    lineage = read_lineage(sent.headers["redrive"])
    assert lineage is not None
    return replace(lineage, attempts=())


@pytest.fixture
def world(db: Database, server: TestServer) -> Iterator[Redriver]:
    with ExitStack() as stack:
        yield Redriver(db, url=server.url, stack=stack)


def waiting(world: Redriver) -> dict[str, int]:
    """Messages by queue, of those that are not empty."""
    sizes = {queue: len(world.messages(queue)) for queue in names.QUEUES}
    return {queue: size for queue, size in sizes.items() if size}


@pytest.mark.parametrize(("task", "queue"), TASK_QUEUES.items())
def test_a_task_goes_to_its_queue_with_its_arguments_and_where_it_comes_from(
    world: Redriver, task: str, queue: str
) -> None:
    args, kwargs = ["über", 7, None, {"deep": [1.5, True]}], {"vm": "v", "ñ": {"x": "漢字"}}
    origin = world.dead_letter("tasks", task=task, args=args, kwargs=kwargs, retry_count=2, redrives=1, task_id="old")
    run = world.start()
    world.drive(run)
    assert waiting(world) == {queue: 1}
    [sent] = world.messages(queue)
    assert (sent.task, sent.args, sent.kwargs) == (task, args, kwargs)
    assert sent.headers["id"] != "old"
    assert (sent.headers["retries"], sent.headers["expires"], sent.headers["eta"]) == (0, None, None)
    assert sent.headers["ignore_result"] is True
    assert lineage_without_attempts(sent) == Lineage(dead_letter_id=origin, redrives=2, retry_count=3, run=run)
    assert world.left() == set()
    assert counters(world) == {"dead_letters_redriven:tasks": 1}


def test_the_message_is_one_that_a_worker_takes(world: Redriver) -> None:
    world.dead_letter("tasks")
    world.redrive()
    with world.broker().app.connection_for_read() as line:
        queue = line.SimpleQueue(names.MAINTENANCE_QUEUE)
        message = queue.get(block=False)
        assert message.headers["task"] == "t.t"
        assert message.payload[:2] == [[], {}]
        assert message.delivery_info["routing_key"] == names.MAINTENANCE_QUEUE
        message.ack()
        queue.close()


@pytest.mark.parametrize("priority", [0, 4, 9])
def test_a_message_is_built_as_kombu_itself_stores_it(world: Redriver, priority: int) -> None:
    """Byte by byte, but for the delivery tag, which is another for each message."""
    app = world.broker().app
    send = partial(
        app.send_task,
        "t.t",
        args=["über", 7],
        kwargs={"ñ": {"x": "漢字"}},
        task_id="one",
        queue=names.CHECK_QUEUE,
        priority=priority,
        headers={"redrive": {"run": "r"}},
    )
    key, built = build_message(app, lambda producer: send(producer=producer))
    send()
    (stored,) = world.client.lrange(key, 0, -1)
    assert key.startswith(names.CHECK_QUEUE)

    def without_tag(raw: bytes) -> bytes:
        tag = json.loads(raw)["properties"]["delivery_tag"]
        reply_to = json.loads(raw)["properties"]["reply_to"]
        return raw.replace(tag.encode(), b"TAG").replace(reply_to.encode(), b"REPLY")

    assert without_tag(built) == without_tag(stored)


def test_tasks_are_taken_in_the_order_in_which_they_failed(world: Redriver) -> None:
    for number in (3, 1, 2):
        world.dead_letter("tasks", 10 * number, args=[number])
    world.redrive()
    assert [sent.args for sent in world.messages(names.MAINTENANCE_QUEUE)] == [[3], [2], [1]]


@pytest.mark.parametrize("absent", [{"args": None}, {"kwargs": None}, {"args": None, "kwargs": None}])
def test_arguments_that_are_not_there_are_none(world: Redriver, absent: dict[str, Any]) -> None:
    world.dead_letter("tasks", **absent)
    world.redrive()
    [sent] = world.messages(names.MAINTENANCE_QUEUE)
    assert (sent.args, sent.kwargs) == ([], {})


@pytest.mark.parametrize(
    "fields",
    [
        {"args": ["[redacted]"]},
        {"kwargs": {"deep": [{"password": "[redacted]"}]}},
        {"args": ["redis://[redacted]@host/0"]},
    ],
)
def test_a_task_whose_arguments_were_redacted_is_kept(world: Redriver, fields: dict[str, Any]) -> None:
    kept = world.dead_letter("tasks", **fields)
    assert world.redrive() == {"kept": 1}
    assert world.left() == {kept}
    assert waiting(world) == {}
    assert counters(world) == {}


def test_a_message_that_could_not_be_decoded_is_kept(world: Redriver) -> None:
    raw: dict[str, Any] = {
        "task": None,
        "error_class": "UndecodableMessage",
        "args": ["bm8="],
        "kwargs": {"queue": "q", "bytes": 2},
    }
    kept = world.dead_letter("tasks", **raw)
    assert world.redrive() == {"kept": 1}
    assert world.left() == {kept}


@pytest.mark.parametrize(
    "fields", [{"args": "abc"}, {"args": {"a": 1}}, {"kwargs": [1]}, {"args": 5}, {"task": "\ud800"}]
)
def test_what_no_task_can_be_called_with_is_kept_and_does_not_end_the_run(
    world: Redriver, fields: dict[str, Any]
) -> None:
    entry = json.dumps({"task": "t.t", "args": [], "kwargs": {}, **fields})
    world.client.zadd("vmpooler__dlq__tasks", {entry: world.now - 90})
    world.dead_letter("tasks", 30)
    assert world.redrive() == {"kept": 1, "redriven": 1}


@pytest.mark.parametrize("task", TICKS)
def test_what_comes_again_by_itself_is_obsolete(world: Redriver, task: str) -> None:
    world.dead_letter("tasks", task=task, kwargs={"pool": POOL})
    assert world.redrive() == {"obsolete": 1}
    assert world.left() == set()
    assert waiting(world) == {}
    assert counters(world) == {"dead_letters_obsolete:tasks": 1}


def test_a_vm_is_destroyed_only_if_it_still_waits_for_it(world: Redriver) -> None:
    world.completed_vm("pooler-dead")
    for vm in ("pooler-dead", "pooler-gone"):
        world.dead_letter("tasks", task=names.DESTROY_VM, vm=vm, pool=POOL, kwargs={"vm": vm, "pool": POOL})
    assert world.redrive() == {"redriven": 1, "obsolete": 1}
    [sent] = world.messages(names.DESTROY_QUEUE)
    assert (sent.task, sent.kwargs) == (names.DESTROY_VM, {"vm": "pooler-dead", "pool": POOL})


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY, Queue.RUNNING])
def test_a_vm_that_lives_again_is_not_destroyed(world: Redriver, queue: Queue) -> None:
    world.vm(queue, "pooler-alive", 0)
    world.dead_letter(
        "tasks", task=names.DESTROY_VM, vm="pooler-alive", pool=POOL, kwargs={"vm": "pooler-alive", "pool": POOL}
    )
    assert world.redrive() == {"obsolete": 1}
    assert waiting(world) == {}


def test_a_task_with_a_name_of_ours_that_nobody_knows_is_kept(
    world: Redriver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "vmpooler_tasks.redrive")
    kept = world.dead_letter("tasks", task="vmpooler_tasks.no_such_task")
    assert world.redrive() == {"kept": 1}
    assert world.left() == {kept}
    assert waiting(world) == {}
    assert f"[*] [redrive] {kept} of vmpooler_tasks.no_such_task: kept: no worker knows this task" in caplog.messages


@pytest.mark.parametrize("task", ["their.task", "celery.backend_cleanup", "vmpooler.task"])
def test_others_may_know_a_task_that_we_do_not(world: Redriver, task: str) -> None:
    world.dead_letter("tasks", task=task, error_class="NotRegistered")
    assert world.redrive() == {"redriven": 1}
    assert [sent.task for sent in world.messages(names.MAINTENANCE_QUEUE)] == [task]


def test_we_know_every_task_of_ours() -> None:
    app.finalize()
    app.loader.import_default_modules()
    assert {name for name in app.tasks if name.startswith("vmpooler_tasks.")} == names.OWN.names
    assert names.OWN.repeated <= names.OWN.names
    assert names.OWN.repeated == set(TICKS)


def test_a_task_that_cannot_be_sent_is_kept(world: Redriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> TaskMessage:
        raise InvalidInputError("it is too long")

    monkeypatch.setattr(RedriveBroker, "prepare", refuse)
    kept = world.dead_letter("tasks")
    assert world.drive(world.start()).counts["kept"] == 1
    assert world.left() == {kept}


def test_a_repeated_step_does_not_enqueue_its_task_twice(world: Redriver) -> None:
    world.dead_letter("tasks")
    run = world.start()
    driver = job._Driver(world.db, world.settings, world.broker(), world.clock, job.read_run(world.db, run))
    assert [driver.step(0), driver.step(0)] == ["redriven", "moved_on"]
    assert waiting(world) == {names.MAINTENANCE_QUEUE: 1}


# --- a broker of its own ---------------------------------------------------------------------------------------------


def test_a_broker_on_another_server_gets_the_message(world: Redriver, elsewhere: Redriver) -> None:
    origin = world.dead_letter("tasks", args=[7])
    run = world.start()
    world.drive(run)
    assert waiting(world) == {}
    [sent] = elsewhere.messages(names.MAINTENANCE_QUEUE)
    assert sent.args == [7]
    assert lineage_without_attempts(sent) == Lineage(dead_letter_id=origin, redrives=1, retry_count=1, run=run)
    assert world.left() == set()


def test_what_has_gone_or_is_obsolete_never_reaches_it(world: Redriver, elsewhere: Redriver) -> None:
    world.dead_letter("tasks", 90, task=names.DESTROY_VM, vm="v", kwargs={"vm": "v", "pool": POOL})
    world.dead_letter("tasks", 60, task=names.CHECK_POOLS)
    world.dead_letter("tasks", 30)
    run = world.start()
    world.client.zremrangebyrank("vmpooler__dlq__tasks", 2, 2)
    last = world.drive(run)
    assert {name: count for name, count in last.counts.items() if count} == {"obsolete": 2, "gone": 1}
    assert waiting(elsewhere) == {}


def test_a_driver_that_comes_late_does_not_send_it_again(world: Redriver, elsewhere: Redriver) -> None:
    world.dead_letter("tasks")
    run = world.start()
    drivers = [
        job._Driver(world.db, world.settings, world.broker(), world.clock, job.read_run(world.db, run))
        for _ in range(2)
    ]
    assert [driver.step(0) for driver in drivers] == ["redriven", "moved_on"]
    assert waiting(elsewhere) == {names.MAINTENANCE_QUEUE: 1}


def test_a_clone_reaches_it_as_well(world: Redriver, elsewhere: Redriver) -> None:
    world.dead_letter("clone")
    world.redrive(queues=(DeadLetterQueue.CLONE,))
    [sent] = elsewhere.messages(names.CLONE_QUEUE)
    assert world.names_in(Queue.PENDING) == {sent.kwargs["vm"]}


def connections(world: Redriver) -> int:
    """Return how many connections its server has accepted so far."""
    return int(world.client.info("stats")["total_connections_received"])


def test_a_run_needs_as_many_connections_for_many_dead_letters_as_for_few(world: Redriver, elsewhere: Redriver) -> None:
    opened = []
    for count in (2, 60):
        for number in range(count):
            world.dead_letter("tasks", number + 1, args=[number])
        before = connections(world) + connections(elsewhere)
        with ExitStack() as stack:
            world.stack = stack
            assert world.redrive() == {"redriven": count}
        opened.append(connections(world) + connections(elsewhere) - before)
    assert opened[1] <= opened[0] <= 4


def test_a_run_that_met_a_restart_of_the_broker_continues(
    world: Redriver, elsewhere: Redriver, broker: TestServer
) -> None:
    for number in range(3):
        world.dead_letter("tasks", 90 - number, args=[number])
    run = world.start()
    steps = world.steps(run)
    next(steps)
    broker.kill()
    with pytest.raises(StoreUnavailableError), world.stack:
        list(steps)
    assert len(world.left()) == 2
    broker.start()
    with ExitStack() as world.stack:
        assert world.drive(run).counts["redriven"] == 3
    assert [sent.args for sent in elsewhere.messages(names.MAINTENANCE_QUEUE)] == [[0], [1], [2]]
