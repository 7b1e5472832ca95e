"""Leave out of the log what Celery reports of tasks that are many and repeat by themselves.

Celery logs each task twice. The jobs of the pool workers log what they do by VM and pool; only their failures are of
interest beyond that.
"""

import logging
from typing import Any

from vmpooler_tasks.tasks.registry import OWN_LINES, REPEATED
from vmpooler_tasks.throttle import Throttle

LATE_TASKS = "[!] [pools] Tasks expire before a worker takes them: there are too few workers, or they are too slow"
LATE_TASKS_INTERVAL = 60.0

_LOGGERS = ("celery.worker.strategy", "celery.app.trace")
_DISCARDS = "celery.worker.request"
_DISCARDED = "Discarding revoked task"

_log = logging.getLogger("vmpooler_tasks.pools")


class LateTasks:
    """Log that repeated tasks expire, at most once per interval: thousands may expire at once."""

    def __init__(self, throttle: Throttle | None = None) -> None:
        self._throttle = throttle or Throttle(LATE_TASKS_INTERVAL)

    def on_revoked(self, sender: Any, expired: bool, **_: Any) -> None:
        """Receive Celery's `task_revoked`."""
        if expired and sender.name in REPEATED and self._throttle.acquire():
            _log.warning(LATE_TASKS)


def _is_wanted(record: logging.LogRecord) -> bool:
    task = record.args.get("name") if isinstance(record.args, dict) else None
    return record.levelno > logging.INFO or task not in OWN_LINES


def _is_no_late_task(record: logging.LogRecord) -> bool:
    """Celery's line has the task's name and id as its arguments."""
    late = isinstance(record.args, tuple) and record.args[:1] and record.args[0] in REPEATED
    return not late or not str(record.msg).startswith(_DISCARDED)


def install(**_: Any) -> None:
    """Filter these lines out of this process's log, unless it shows everything (DEBUG)."""
    for name, is_wanted in (*((name, _is_wanted) for name in _LOGGERS), (_DISCARDS, _is_no_late_task)):
        logger = logging.getLogger(name)
        if not logger.isEnabledFor(logging.DEBUG):
            logger.addFilter(is_wanted)
