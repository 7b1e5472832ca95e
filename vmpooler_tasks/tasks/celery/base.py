"""The base of every task here: what would end a worker, or loop for ever, ends as an ordinary failure."""

import signal
from typing import Any

from celery import Task as CeleryTask

from vmpooler_tasks import logs
from vmpooler_tasks.model.pools.retries import MAX_DELIVERIES
from vmpooler_tasks.store.fleet import redeliveries
from vmpooler_tasks.tasks.database import database
from vmpooler_tasks.tasks.observe.log_format import about_the_task


class EndedProcessError(RuntimeError):
    """The task tried to end its process"""


class TooManyDeliveriesError(RuntimeError):
    """The task was delivered again and again, and never came to an end"""


class Task(CeleryTask):
    """Turns what would end the worker into an ordinary failure, which is then reported like any other.

    On threads and gevent a bare SystemExit would leak the slot for ever; on prefork it would be reported as a lost
    worker.
    """

    abstract = True
    acks_late = True
    # A child that is killed loses its task, which is tried again, but not for ever.
    retry_on_worker_lost = True
    max_retries = MAX_DELIVERIES - 1
    default_retry_delay = 1
    resultrepr_maxsize = 200  # in the log and in Flower; the result itself is kept whole

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_endless_loop()
        try:
            with logs.about(about_the_task()):
                return super().__call__(*args, **kwargs)
        except (SystemExit, KeyboardInterrupt, MemoryError) as error:
            if _asked_to_end(error):
                raise  # what becomes of the task is for the worker to say: it was terminated, or is given back
            raise EndedProcessError(f"{type(error).__name__}: {error}") from error

    def _refuse_endless_loop(self) -> None:
        """A message whose whole worker dies comes back without any count of its own."""
        if not (self.request.delivery_info or {}).get("redelivered"):
            return
        count = redeliveries.count(database(), str(self.request.id))
        if count >= MAX_DELIVERIES:
            raise TooManyDeliveriesError(f"{count} deliveries, none of which came to an end")


def _asked_to_end(error: BaseException) -> bool:
    """Whether this is how billiard ends a child that got a signal: SystemExit(signal - 256)."""
    return isinstance(error, SystemExit) and isinstance(error.code, int) and error.code + 256 in set(signal.Signals)
