"""Dead letters: pushes of the failure path against a plain ZADD, and a list of ten thousand.

The jobs here run in a worker process (`tests.benchmarks.worker`).
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, NoReturn

from vmpooler_tasks.jobs.deadletters import query as job
from vmpooler_tasks.model.deadletters.entry import DeadLetter, dead_letter_id
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.celery.failures import FailedTask, keep_failed_task
from vmpooler_tasks.tasks.process import database

ROUNDS = 7
PUSHES = 300
"""Pushes in each round. A round of ZADDs follows, so that both have the same noise."""

PROBES = 20
LISTED = 10_000
PLAIN_KEY = "vmpooler_benchmark__plain"
MARK = "vmpooler benchmark: the probe starts or ends here"

_numbers = count()


def push(_: float) -> dict[str, Any]:
    """Measure the rate of pushes, and count the commands of one push."""
    db, failure = database(), _failure()
    requests = _requests_of(lambda: _fail(failure))
    kept, plain = list[float](), list[float]()
    for _round in range(ROUNDS):
        kept.append(_per_second(lambda: _fail(failure)))
        plain.append(_per_second(lambda: _plain_zadd(db)))
    return {
        "requests_per_push": {name: sent / PROBES for name, sent in requests.items()},
        "pushes_per_second": statistics.median(kept),
        "zadds_per_second": statistics.median(plain),
    }


def page(_: float) -> dict[str, Any]:
    started_at = time.perf_counter()
    found = job.read_page(database(), DeadLetterFilter(), LISTED)
    return {"entries": len(found.entries), "page_seconds": time.perf_counter() - started_at}


def fill(db: Database, now: float) -> None:
    """Add ten thousand dead letters to four queues, one second apart."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for index in range(LISTED):
            queue = list(DeadLetterQueue)[index % len(DeadLetterQueue)]
            pipe.zadd(f"vmpooler__dlq__{queue}", {_dead_letter(queue, index, now - index).member(): int(now - index)})
        pipe.execute()


def _dead_letter(queue: DeadLetterQueue, index: int, failed: float) -> DeadLetter:
    return DeadLetter(
        vm=f"pooler-happy-elephant-{index}",
        pool="centos-7-x86_64",
        queue_from=queue,
        error_class="StandardError",
        error_message="template centos-7-template does not exist",
        failed_at=iso_utc(failed),
        retry_count=3,
        request_id=f"req-{index}",
        pool_alias="centos-7",
        id=dead_letter_id(queue, index),
    )


def _failure() -> Exception:
    """Return an exception with a traceback like that of a task."""
    try:
        _clone()
    except RuntimeError as error:
        return error


def _clone() -> NoReturn:
    raise RuntimeError("template centos-7-template does not exist")


def _fail(error: Exception) -> None:
    """Do what the hooks of the worker do for a failed task."""
    number = next(_numbers)
    keep_failed_task(
        FailedTask(
            name="vmpooler_tasks.purge_stale_entries",
            task_id=f"task-{number}",
            args=[],
            retries=3,
            error=error,
            kwargs={"vm": f"pooler-happy-elephant-{number}", "pool": "centos-7-x86_64"},
        )
    )


def _plain_zadd(db: Database) -> None:
    number = next(_numbers)
    db.client.zadd(PLAIN_KEY, {f"{number}:{'x' * 400}": number})


def _per_second(once: Callable[[], None]) -> float:
    started_at = time.perf_counter()
    for _ in range(PUSHES):
        once()
    return PUSHES / (time.perf_counter() - started_at)


def _requests_of(once: Callable[[], None]) -> Counter[str]:
    """Count the commands that the server received, without those inside scripts."""
    db = database()
    with db.client.monitor() as monitor:
        once()  # loads the script, and opens another connection: this one is busy
        db.call("ECHO", MARK)
        for _ in range(PROBES):
            once()
        db.call("ECHO", MARK)
        heard = monitor.listen()
        while MARK not in next(heard)["command"]:
            pass
        seen: Counter[str] = Counter()
        for one in heard:
            if MARK in one["command"]:
                return seen
            if one["client_type"] != "lua":
                seen[one["command"].split()[0].upper()] += 1
    raise RuntimeError("the server closed the line")
