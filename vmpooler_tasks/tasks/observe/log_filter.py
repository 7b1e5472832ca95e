"""Celery tells of each task twice. Of those that come every few seconds by themselves, only what went wrong is told."""

import logging
from typing import Any

from celery import signals

from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.throttle import Sparingly

QUIET = frozenset(
    {
        names.CHECK_POOLS,
        names.CHECK_POOL,
        names.PROCESS_REQUESTS,
        names.CHECK_PENDING_VM,
        names.CHECK_READY_VM,
        names.CHECK_RUNNING_VM,
        names.CLONE_VM,
        names.DESTROY_VM,
    }
)
"""What these do is told by their own lines, by VM and pool."""

TICKS = QUIET - {names.CLONE_VM, names.DESTROY_VM}
"""One of these that is late expires, as the next one does its work. Nobody revokes one by hand."""

BEHIND = "[!] [pools] Ticks expire before a worker takes them: the workers are behind"
PAUSE_SECONDS = 60.0

_LOGGERS = ("celery.worker.strategy", "celery.app.trace")
_DISCARDS = "celery.worker.request"
_DISCARDED = "Discarding revoked task"

_log = logging.getLogger("vmpooler_tasks.pools")


class Lateness:
    """Says that ticks expire; not for each one, as thousands may come at once."""

    def __init__(self, telling: Sparingly | None = None) -> None:
        self._telling = telling or Sparingly(PAUSE_SECONDS)

    def revoked(self, sender: Any, expired: bool, **_: Any) -> None:
        if expired and sender.name in TICKS and self._telling.is_time():
            _log.warning(BEHIND)


signals.task_revoked.connect(Lateness().revoked, weak=False)


def _is_told(record: logging.LogRecord) -> bool:
    task = record.args.get("name") if isinstance(record.args, dict) else None
    return record.levelno > logging.INFO or task not in QUIET


def _is_no_late_tick(record: logging.LogRecord) -> bool:
    """Celery's line has the task's name and id as its arguments."""
    late = isinstance(record.args, tuple) and record.args[:1] and record.args[0] in TICKS
    return not late or not str(record.msg).startswith(_DISCARDED)


def hush() -> None:
    """Leaves these lines out of this process's log, as long as it is not asked for everything (DEBUG)."""
    for name, is_told in (*((name, _is_told) for name in _LOGGERS), (_DISCARDS, _is_no_late_tick)):
        logger = logging.getLogger(name)
        if not logger.isEnabledFor(logging.DEBUG):
            logger.addFilter(is_told)
