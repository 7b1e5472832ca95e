"""What workers held when they died or froze is done by others within the lease. A lost connection doubles nothing."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.failing_tasks import PREFIX
from tests.support.messages import QUEUE, message, send
from tests.support.processes import Installation, until
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.broker.holders import HOLDERS_KEY

pytestmark = [pytest.mark.stage(name="fleet"), pytest.mark.slow(seconds=40)]

STARTED = "the task waits"


def order(database: Database, gate: Path) -> str:
    """Send a task that ends when the file exists, and return its id."""
    sent = message(f"{PREFIX}.wait_for_file", str(gate))
    send(database, sent)
    return str(sent["headers"]["id"])


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Return the file that the tasks wait for. A test creates it after the deaths and losses it is about."""
    return tmp_path / "gate"


def held(database: Database) -> int:
    return int(database.call("HLEN", "unacked"))


def test_what_a_killed_and_a_frozen_worker_held_is_done_once_more_by_another(
    installation: Installation, database: Database, gate: Path
) -> None:
    installation.configure(lease_seconds=20)
    killed, frozen = (installation.worker(name=name, tasks=PREFIX) for name in ("killed", "frozen"))
    tasks = [order(database, gate), order(database, gate)]
    for worker in (killed, frozen):
        worker.says(STARTED)
    assert frozen.process is not None
    os.killpg(frozen.process.pid, signal.SIGSTOP)
    killed.kill()
    gate.touch()
    heir = installation.worker(name="heir", tasks=PREFIX)
    assert held(database) == 2
    for task in tasks:
        heir.says(f"[{task}] succeeded")
    heir.says("went back to their queues: their worker is gone")
    os.killpg(frozen.process.pid, signal.SIGCONT)
    frozen.says("] succeeded")  # its acknowledgement has no effect
    until(lambda: held(database) == 0, "everything is acknowledged")
    assert database.call("LLEN", QUEUE) == 0
    assert not database.call("EXISTS", HOLDERS_KEY)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_that_outlives_the_connection_is_not_done_twice(
    installation: Installation, database: Database, gate: Path, pool: str
) -> None:
    worker = installation.worker("-P", pool, tasks=PREFIX, worker_concurrency=2)  # it waits for one more meanwhile
    task = order(database, gate)
    worker.says(STARTED)
    database.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    worker.says("Connection to broker lost")
    gate.touch()
    worker.says(f"[{task}] succeeded")
    until(lambda: held(database) == 0, "its message is removed over the next connection")
    assert database.call("LLEN", QUEUE) == 0
    assert worker.log.count(STARTED) == 1


def test_a_task_that_waits_for_a_thread_is_not_done_twice(
    installation: Installation, database: Database, gate: Path
) -> None:
    """After the first loss, the worker takes one more message than it has threads. Its thread pool starts it later."""
    worker = installation.worker("-P", "threads", tasks=PREFIX, worker_concurrency=1)
    tasks = [order(database, gate), order(database, gate)]
    worker.says(STARTED)
    for count in (1, 2):
        for kind in ("normal", "pubsub"):
            database.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        until(lambda count=count: worker.log.count("Connection to broker lost") >= count, "the loss is noticed")  # type: ignore[misc]
        until(lambda: held(database) == 2, "the second message is taken")
    gate.touch()
    for task in tasks:
        worker.says(f"[{task}] succeeded")
    until(lambda: held(database) == 0, "everything is acknowledged")
    assert database.call("LLEN", QUEUE) == 0
    assert worker.log.count(STARTED) == 2
