"""Celery tells of each task twice. Of those that come every few seconds by themselves, only what went wrong is told."""

import logging

from vmpooler_tasks.tasks import names

QUIET = frozenset({
    names.CHECK_POOLS, names.CHECK_POOL, names.PROCESS_REQUESTS, names.CHECK_PENDING_VM, names.CHECK_READY_VM,
    names.CHECK_RUNNING_VM, names.CLONE_VM, names.DESTROY_VM,
})  # fmt: skip
"""What these do is told by their own lines, by VM and pool."""

_LOGGERS = ("celery.worker.strategy", "celery.app.trace")


def _is_told(record: logging.LogRecord) -> bool:
    task = record.args.get("name") if isinstance(record.args, dict) else None
    return record.levelno > logging.INFO or task not in QUIET


def hush() -> None:
    """Leaves these lines out of this process's log, as long as it is not asked for everything (DEBUG)."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not logger.isEnabledFor(logging.DEBUG):
            logger.addFilter(_is_told)
