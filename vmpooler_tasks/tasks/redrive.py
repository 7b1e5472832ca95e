"""The task that runs dead letters again, and the broker that it hands their messages to."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import Celery, current_app, shared_task

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.edit import Arguments, Named
from vmpooler_tasks.jobs.redrive.options import read_options
from vmpooler_tasks.jobs.redrive.preview import preview
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.model.redrive import Lineage, RunOptions, RunState
from vmpooler_tasks.store.redrive.steps import TaskMessage
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.arguments import check_arguments, describe_arguments
from vmpooler_tasks.tasks.celery.base import Task
from vmpooler_tasks.tasks.process import database, settings
from vmpooler_tasks.tasks.task_message import build_message

HEADER = "redrive"

TURN_SECONDS = 60.0
"""How long one task drives a run before it hands the run to another task."""


@dataclass(frozen=True, slots=True)
class RedriveBroker:
    """The way to the workers through this application; see `jobs.redrive.run.Broker`."""

    app: Celery
    settings: Settings

    own = names.OWN

    @property
    def is_same_server(self) -> bool:
        """Return True if the broker is VMPooler's Redis."""
        return self.settings.broker_url is None

    def prepare(self, task: str, args: Any, kwargs: Any, lineage: Lineage) -> TaskMessage:
        """Return the message if the broker is VMPooler's Redis. Otherwise send it, and return an empty message.

        In the same Redis, the message is stored in the step in which the dead letter leaves. To another server it goes
        first: a crash in between doubles it, which is better than to lose it. All messages of a process go over the
        connection of the application's pool.
        """
        send = partial(
            self.app.send_task,
            task,
            args=args,
            kwargs=kwargs,
            ignore_result=True,
            retry=False,
            queue=names.queue_of(task),
            headers={HEADER: lineage.as_fields()},
        )
        if self.is_same_server:
            return TaskMessage(*build_message(self.app, lambda producer: send(producer=producer)))
        send()
        return TaskMessage()

    def check_arguments(self, task: str, before: Arguments, after: Arguments) -> tuple[Named, Named]:
        """Return the arguments by their names, as `tasks.arguments.check_arguments` does."""
        return check_arguments(self.app, task, before, after)

    def describe_arguments(self, task: str) -> list[dict[str, Any]]:
        """Return the arguments of a task of ours, as `tasks.arguments.describe_arguments` does."""
        return describe_arguments(self.app, task)

    def hand_out(self, work: Work) -> None:
        """Send a clone to the workers."""
        self.app.send_task(
            names.CLONE_VM, kwargs=work.as_kwargs(), ignore_result=True, retry=False, queue=names.CLONE_QUEUE
        )


@shared_task(name=names.REDRIVE, base=Task, bind=True, ignore_result=False)
def redrive(self: Task, run: str | None = None, **options: Any) -> dict[str, Any]:
    """Start a run of redrives, as `vmpooler-tasks dlq redrive` does, or continue one, and return its progress.

    `options` are those of `RedriveOptions`; with `dry_run` the result is the preview.

    Raises InvalidInputError for wrong options.
    """
    if run is None:
        order = read_options(options)
        selection = Selection(wanted=order.filter(), limit=order.limit, confirmed=order.confirm)
        if order.dry_run or selection.is_empty(database()):
            return preview(database(), settings(), names.OWN, selection).as_json()
        settings().refuse_if_observing(job.REDRIVING)
        run_options = RunOptions(
            who=order.who or f"task {self.request.id}",
            why=order.why,
            rate=order.rate,
            max_failed_percent=order.max_failed_percent,
        )
        run = job.start(database(), selection, run_options, database().clock())
    elif options:
        raise InvalidInputError(f"a run that is continued takes no {', '.join(sorted(options))}")
    return _drive(run)


def _drive(run: str) -> dict[str, Any]:
    """Continue a run for a while and return its progress.

    A run that waits for a free slot, or takes long, is handed to another task: it must not keep this worker from making
    the clones that it waits for.
    """
    start, position = time.monotonic(), job.read_run(database(), run).position
    progress: dict[str, Any] = {"run": run, "state": "ended before"}
    for now in job.drive(database(), settings(), RedriveBroker(current_app, settings()), database().clock, run):
        progress = dict(job.as_json(now))
        has_waited = now.position == position
        if now.state is RunState.RUNNING and (has_waited or time.monotonic() - start > TURN_SECONDS):
            current_app.send_task(names.REDRIVE, args=[run], ignore_result=True, queue=names.MAINTENANCE_QUEUE)
            break
        position = now.position
    return progress
