"""Tasks that fail in every way that a task can. A worker loads them with `--include tests.support.failing_tasks`."""

# Celery's decorators are untyped.
# mypy: disable-error-code="untyped-decorator"

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from celery import shared_task
from celery.exceptions import Reject, SoftTimeLimitExceeded

from vmpooler_tasks.tasks.celery.base import Task

PREFIX = "tests.support.failing_tasks"


class TemplateNotFoundError(Exception):
    pass


@shared_task(base=Task)
def succeed() -> str:
    return "done"


@shared_task(base=Task)
def raise_an_error(*_: Any, **__: Any) -> NoReturn:
    raise TemplateNotFoundError("no template at https://svc:hunter2@vcenter/t, password=hunter2")


@shared_task(base=Task)
def take_two(one: int, two: int) -> int:
    return one + two


@shared_task(base=Task)
def exit_the_process() -> NoReturn:
    sys.exit(3)


@shared_task(base=Task)
def run_out_of_memory() -> NoReturn:
    raise MemoryError("no more")


@shared_task(base=Task)
def vanish() -> None:
    os._exit(1)


@shared_task(base=Task)
def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(base=Task)
def sleep(seconds: float) -> None:
    """Sleep, after a line on stderr that shows that the task runs."""
    sys.stderr.write("the task sleeps\n")
    sys.stderr.flush()
    time.sleep(seconds)


@shared_task(base=Task)
def wait_for_file(path: str) -> None:
    """Wait until the test creates a file, after a line on stderr that shows that the task runs."""
    sys.stderr.write("the task waits\n")
    sys.stderr.flush()
    while not Path(path).exists():
        time.sleep(0.05)


@shared_task(base=Task)
def sleep_on(seconds: float) -> None:
    """Sleep, and ignore a soft time limit."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        time.sleep(seconds)


@shared_task(base=Task)
def reject() -> NoReturn:
    raise Reject("not mine", requeue=False)


@shared_task(base=Task, ignore_result=False)
def answer_with_an_object() -> object:
    return object()


@shared_task(base=Task, bind=True, max_retries=1)
def try_again(self: Task) -> NoReturn:
    raise self.retry(exc=TemplateNotFoundError("still none"), countdown=0)


@shared_task(base=Task)
def print_lines() -> None:
    print("one\ntwo")
