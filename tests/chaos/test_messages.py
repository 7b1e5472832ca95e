"""Messages, and broadcasts of remote control, that are wrong in every way, to workers of both kinds.

What is set up
    A worker with processes and one with threads, on one queue.

What is done
    Generated messages (`tests.support.odd_messages`) go to the queue, and generated broadcasts to the channel of remote
    control. CHAOS_SEED decides which.

What must hold
    No worker ends. Nothing stays in the queue or in `unacked`. Each message has either run or become a dead letter.
    Then both workers still run a task, and reply to a command.
"""

import base64
import json
from typing import Any

import pytest
from celery import Celery
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.chaos.settings import SEED, times
from tests.support.failing_tasks import PREFIX
from tests.support.fuzzing import examples
from tests.support.messages import QUEUE, message, nothing_waits, send
from tests.support.odd_messages import json_values, odd_messages
from tests.support.processes import Installation, Process, until
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.tasks.registry import TASKS

pytestmark = [pytest.mark.stage(name="chaos"), pytest.mark.fuzz, pytest.mark.timeout(900)]

BATCH = 50
POOLS = ("prefork", "threads")
COUNTED = tuple(f"{PREFIX}.{name}" for name in ("succeed", "raise_an_error", "take_two"))
"""Tasks whose ends the log shows."""

CONTROL = "/0.celery.pidbox"


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    found: list[Any] = []

    @seed(SEED)
    @hypothesis_settings(
        max_examples=count,
        derandomize=False,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return found


@pytest.fixture
def workers(installation: Installation) -> list[Process]:
    return [installation.worker("-P", pool, name=pool, tasks=PREFIX) for pool in POOLS]


def are_handled(db: Database, workers: list[Process], raws: list[bytes]) -> bool:
    for raw in raws:
        send(db, raw)
    ended = until(
        lambda: nothing_waits(db) or [worker for worker in workers if not worker.running],
        lambda: f"nothing waits; {db.call('HVALS', 'unacked')}",
    )
    return ended is True


def culprits(db: Database, installation: Installation, raws: list[bytes]) -> list[bytes]:
    """Return the messages of a batch each of which ends a worker alone."""
    found = []
    db.call("FLUSHALL")
    for raw in raws:
        worker = installation.worker(tasks=PREFIX)
        if not are_handled(db, [worker], [raw]):
            found.append(raw)
        worker.kill()
        db.call("FLUSHALL")
    return found


def ends(db: Database, workers: list[Process]) -> int:
    """Return how many messages have run, or become a dead letter."""
    ran = sum(worker.log.count(" succeeded in ") for worker in workers)
    return ran + int(db.call("ZCARD", keys.dead_letters(DeadLetterQueue.TASKS)))


def test_no_message_stops_a_worker_or_is_lost(
    installation: Installation, database: Database, workers: list[Process]
) -> None:
    raws = drawn(odd_messages(*COUNTED, "no.such.task"), examples(times(600)))
    for start in range(0, len(raws), BATCH):
        batch = raws[start : start + BATCH]
        if not are_handled(database, workers, batch):
            pytest.fail(f"these end a worker: {culprits(database, installation, batch)}")
    # The same failure of a task that is repeated is kept once an hour. Callbacks have ends of their own.
    ticks = sum(b'"tick": true' in raw for raw in raws)
    assert ends(database, workers) >= len(raws) - ticks
    print(f"CHAOS_SEED={SEED}: {len(raws)} odd messages, none lost, no worker stopped", flush=True)
    assert_alive(database, workers, installation)


def test_no_arguments_of_our_tasks_stop_a_worker(
    installation: Installation, database: Database, workers: list[Process]
) -> None:
    calls = st.tuples(st.sampled_from(sorted(TASKS)), st.lists(json_values, max_size=4))
    for task, arguments in drawn(calls, examples(times(150))):
        send(database, message(task, *arguments))
    until(lambda: nothing_waits(database), "all tasks have ended")
    assert_alive(database, workers, installation)


def test_no_broadcast_stops_a_worker(installation: Installation, database: Database, workers: list[Process]) -> None:
    names = st.sampled_from(["method", "arguments", "destination", "pattern", "matcher", "reply_to", "ticket"])
    commands = st.dictionaries(names, json_values | st.sampled_from(["ping", "revoke", "glob", "pcre", "["]))
    for body, is_wrapped in drawn(st.tuples(json_values | commands, st.booleans()), examples(times(150))):
        envelope = {**message("x"), "body": base64.b64encode(json.dumps(body).encode()).decode()}
        database.call("PUBLISH", CONTROL, json.dumps(envelope if is_wrapped else body))
    for raw in (b"[" * 100_000, b"\xff", b'{"__type__": "bytes", "__value__": 5}', b""):
        database.call("PUBLISH", CONTROL, raw)
    assert_alive(database, workers, installation)


def replying(client: Celery) -> set[str]:
    """Return the names of the workers that reply to a command within two seconds."""
    return {name.partition("@")[0] for reply in client.control.ping(timeout=2) for name in reply}


def assert_alive(db: Database, workers: list[Process], installation: Installation) -> None:
    """Fail unless each worker runs, replies to a command, and takes tasks."""
    with Celery(broker=installation.environment["REDIS_URL"], set_as_current=False) as client:
        until(lambda: replying(client) == set(POOLS), "both workers reply")
    for number in range(4):
        send(db, message(f"{PREFIX}.succeed", task_id=f"last {number}"))
    until(lambda: nothing_waits(db), "the last tasks have ended")
    assert [worker.running for worker in workers] == [True, True]
    assert db.call("LLEN", QUEUE) == 0
    assert sum(worker.log.count("succeed[last ") for worker in workers) >= 4
