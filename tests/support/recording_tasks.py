"""Tasks that record in Redis that they were done. A worker loads them as `include`."""

# Celery's decorators are untyped.
# mypy: disable-error-code="untyped-decorator"

import time
from collections import Counter

from celery import shared_task

from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.celery.base import Task
from vmpooler_tasks.tasks.process import database

PREFIX = "tests.support.recording_tasks"

DONE = "tests_done"
"""List: the name of each piece of work, once for each time that it was done."""


@shared_task(base=Task)
def record(name: str, seconds: float) -> None:
    """Work for so long, and then record it."""
    time.sleep(seconds)
    database().call("RPUSH", DONE, name)


@shared_task(base=Task, bind=True, max_retries=1)
def record_after_a_retry(self: Task, name: str, seconds: float) -> None:
    """Ask to be run again after a second, and then record it."""
    if not self.request.retries:
        raise self.retry(countdown=1)
    time.sleep(seconds)
    database().call("RPUSH", DONE, name)


def done(db: Database) -> Counter[str]:
    """Return how often each piece of work was done."""
    return Counter(name.decode() for name in db.call("LRANGE", DONE, 0, -1))
