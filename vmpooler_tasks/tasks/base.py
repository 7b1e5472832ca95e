"""The base of every task here."""

import signal
from typing import Any

from celery import Task as CeleryTask


class EndedProcessError(RuntimeError):
    """The task tried to end its process"""


class Task(CeleryTask):
    """Turns what would end the worker into an ordinary failure, which is then reported like any other.

    On threads and gevent a bare SystemExit would leak the slot for ever; on prefork it would be reported as a lost
    worker.
    """

    abstract = True
    acks_late = True
    resultrepr_maxsize = 200  # in the log and in Flower; the result itself is kept whole

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except (SystemExit, KeyboardInterrupt, MemoryError) as error:
            if _asked_to_end(error):
                raise  # what becomes of the task is for the worker to say: it was terminated, or is given back
            raise EndedProcessError(f"{type(error).__name__}: {error}") from error


def _asked_to_end(error: BaseException) -> bool:
    """Whether this is how billiard ends a child that got a signal: SystemExit(signal - 256)."""
    return isinstance(error, SystemExit) and isinstance(error.code, int) and error.code + 256 in set(signal.Signals)
