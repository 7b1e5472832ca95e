"""The base of every task: an error that would end a worker, or loop for ever, becomes an ordinary failure."""

import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery import Task as CeleryTask
from celery.exceptions import Ignore

from vmpooler_tasks import logs
from vmpooler_tasks.errors import StoreUnavailableError, WrongTypeError
from vmpooler_tasks.model.pools.retries import MAX_DELIVERIES
from vmpooler_tasks.store.fleet import redeliveries
from vmpooler_tasks.tasks.broker.fence import is_held
from vmpooler_tasks.tasks.observe.log_format import task_fields
from vmpooler_tasks.tasks.observe.wrong_keys import set_aside_wrong_keys
from vmpooler_tasks.tasks.process import broker, database

_log = logging.getLogger("vmpooler_tasks.broker")


class EndedProcessError(RuntimeError):
    """The task tried to end its process"""


class TooManyDeliveriesError(RuntimeError):
    """The task was delivered too often, and never ended"""


class Task(CeleryTask):
    """Turn an exception that would end the worker into an ordinary failure, which is reported like any other.

    On threads and gevent a bare SystemExit would take a slot for ever. On prefork it would count as a lost worker.
    """

    abstract = True
    acks_late = True
    # A killed child loses its task. It is tried again, but not for ever.
    retry_on_worker_lost = True
    max_retries = MAX_DELIVERIES - 1
    default_retry_delay = 1
    # `set_aside_wrong_keys` and the log of outages name the cause: a traceback for each task would hide it.
    throws: tuple[type[Exception], ...] = (WrongTypeError, StoreUnavailableError)
    resultrepr_maxsize = 200  # in the log and in Flower; the result itself is kept whole

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Raise Ignore if another worker has taken the message while this one was frozen."""
        del args, kwargs
        if not is_held(broker(), self.request.properties):
            _log.warning("[!] [broker] %s[%s] is not run here: another worker has its message", self.name, task_id)
            raise Ignore

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._count_redelivery()
        try:
            with logs.bind_fields(task_fields()):
                return self._run_twice_at_most(super().__call__, args, kwargs)
        except (SystemExit, KeyboardInterrupt, MemoryError) as error:
            if _is_termination(error):
                raise  # the worker decides what happens to the task: it was terminated, or is returned to its queue
            raise EndedProcessError(f"{type(error).__name__}: {error}") from error

    def _run_twice_at_most(self, body: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run the task, and once more if one of our own keys had the wrong type: that key is set aside now."""
        try:
            return body(*args, **kwargs)
        except WrongTypeError as error:
            if remaining := set_aside_wrong_keys(error):
                raise remaining from None
        return body(*args, **kwargs)

    def _count_redelivery(self) -> None:
        """Count the deliveries of a redelivered message, and raise TooManyDeliveriesError beyond the maximum.

        The message itself has no count: Redis returns it unchanged after its whole worker died.
        """
        if not (self.request.delivery_info or {}).get("redelivered"):
            return
        count = redeliveries.count_delivery(database(), str(self.request.id))
        if count >= MAX_DELIVERIES:
            raise TooManyDeliveriesError(f"{count} deliveries, and none of them ended")


def _is_termination(error: BaseException) -> bool:
    """Return True for SystemExit(signal - 256), with which billiard ends a child that got a signal."""
    return isinstance(error, SystemExit) and isinstance(error.code, int) and error.code + 256 in set(signal.Signals)
