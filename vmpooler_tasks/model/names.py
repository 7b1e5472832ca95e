"""The names of VMPooler's queues, and how names from Redis are shown."""

from enum import StrEnum


class Queue(StrEnum):
    """A VM's place in its life; VMPooler keeps one set per queue and pool."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    COMPLETED = "completed"
    DISCOVERED = "discovered"
    MIGRATING = "migrating"


class DeadLetterQueue(StrEnum):
    """Where failed work is kept: by the queue it failed in; `tasks` takes every other failed task."""

    PENDING = "pending"
    CLONE = "clone"
    READY = "ready"
    TASKS = "tasks"


WORK_QUEUES = ("vmpooler.clone", "vmpooler.check", "vmpooler.destroy", "vmpooler.maintenance")
"""Celery's queues, which the workers take their tasks from."""

ORPHANED = "orphaned"
"""Metadata of a VM that is in no queue: not a queue, but purged and counted like one."""


def readable(raw: bytes) -> str:
    r"""Text of Redis as valid Unicode; bytes that are no UTF-8 show as `\\xff`."""
    return raw.decode("utf-8", errors="backslashreplace")


def on_one_line(text: str) -> str:
    """The text with its control characters escaped, so that it cannot forge a second line in a log."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
