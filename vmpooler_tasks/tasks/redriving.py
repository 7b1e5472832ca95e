"""Dead letters run again: their messages, and the task that goes on with a run of them."""

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from celery import Celery, current_app, shared_task

from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.eligibility import forecast
from vmpooler_tasks.jobs.redrive.options import read_order
from vmpooler_tasks.model.redrive import Lineage, RunState
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.celery.base import Task
from vmpooler_tasks.tasks.celery.transport import GuardedChannel
from vmpooler_tasks.tasks.process import database, settings

HEADER = "redrive"

TURN_SECONDS = 60.0
"""For so long one task goes on with a run."""


@dataclass(frozen=True, slots=True)
class Broker:
    """The way to the workers through this application; see `jobs.redrive.Broker`."""

    app: Celery
    settings: Settings

    own = names.OWN

    def prepare(self, task: str, args: Any, kwargs: Any, lineage: Lineage) -> tuple[str, bytes]:
        with self.app.connection_for_write() as line, closing(line.channel()) as channel:
            # In Redis itself, the message goes in with the step that takes the letter out. Elsewhere it goes first: a
            # crash in between doubles it, which is better than to lose it.
            captured: list[tuple[str, bytes]] = []
            if self.settings.broker_url is None:
                if not isinstance(channel, GuardedChannel):
                    raise RuntimeError("`redis://` was used in this process before it was guarded (install_transports)")
                channel.captured = captured
            with self.app.amqp.Producer(channel, auto_declare=False) as producer:
                self.app.send_task(
                    task,
                    args=args,
                    kwargs=kwargs,
                    producer=producer,
                    ignore_result=True,
                    retry=False,
                    queue=names.queue_of(task),
                    headers={HEADER: lineage.as_fields()},
                )
        return captured[0] if captured else ("", b"")

    def hand_out(self, work: Work) -> None:
        self.app.send_task(
            names.CLONE_VM, kwargs=work.as_kwargs(), ignore_result=True, retry=False, queue=names.CLONE_QUEUE
        )


@shared_task(name=names.REDRIVE, base=Task, bind=True, ignore_result=False)
def redrive(self: Task, run: str | None = None, **order: Any) -> dict[str, Any]:
    """Begins a run of redrives, as `vmpooler-tasks dlq redrive` does, or goes on with one; answers how it stands.

    `order` is a `RedriveOptions`; with `dry_run` the answer is the preview. Raises InvalidInputError for a wrong one.
    """
    if run is None:
        asked = read_order(order)
        selection = job.select(database(), asked.filter(), asked.limit)
        if asked.dry_run or not selection.letters:
            return selection.as_json(forecast(database(), settings(), names.OWN, selection.letters))
        run = job.start(
            database(),
            selection,
            who=asked.who or f"task {self.request.id}",
            why=asked.why,
            rate=asked.rate,
            max_failed_percent=asked.max_failed_percent,
            now=system_clock(),
        )
    elif order:
        raise InvalidInputError(f"a run that is gone on with takes no {', '.join(sorted(order))}")
    return _go_on(run)


def _go_on(run: str) -> dict[str, Any]:
    """Goes on with a run for a while; answers how it stands.

    One that waits for a free slot, or takes long, is gone on with by another task: it must not keep the worker from
    making the clones that it waits for.
    """
    begun, position = time.monotonic(), job.known(database(), run).position
    shown: dict[str, Any] = {"run": run, "state": "ended before"}
    for now in job.go_on(database(), settings(), Broker(current_app, settings()), system_clock, run):
        shown = dict(job.as_json(now))
        has_waited = now.position == position
        if now.state is RunState.RUNNING and (has_waited or time.monotonic() - begun > TURN_SECONDS):
            current_app.send_task(names.REDRIVE, args=[run], ignore_result=True, queue=names.MAINTENANCE_QUEUE)
            break
        position = now.position
    return shown
