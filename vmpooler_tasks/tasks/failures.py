"""Every failed task becomes a dead letter, once, whichever process saw it fail."""

import base64
import json
import logging
import time
import traceback as tracebacks
from typing import Any

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs.keep import keep
from vmpooler_tasks.model.deadletter import MAX_TEXT, DeadLetter, letter_id
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line
from vmpooler_tasks.model.redaction import redacted, redacted_bytes, redacted_text
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.tasks.configuration import settings
from vmpooler_tasks.tasks.database import database

_log = logging.getLogger("vmpooler_tasks.dlq")

MAX_RAW = 65_536
"""Bytes kept of a message that cannot be decoded."""


def keep_failed_task(
    *, task: str | None, task_id: str | None, args: Any, kwargs: Any, retries: int, error: BaseException | None,
    error_class: str | None = None, traceback: str | None = None,
) -> None:  # fmt: skip
    """The dead letter of a failed task. Reported again for the same delivery, it is the same letter."""
    now = time.time()
    message = redacted_text(str(error)) if error is not None else ""
    _keep(
        DeadLetter(
            vm=_named(kwargs, "vm"),
            pool=_named(kwargs, "pool"),
            queue_from=DeadLetterQueue.TASKS,
            error_class=error_class or type(error).__name__,
            error_message=message[:MAX_TEXT],
            failed_at=iso_utc(now),
            retry_count=retries,
            id=letter_id(DeadLetterQueue.TASKS, task_id or f"{now}", retries),
            task=task,
            task_id=task_id,
            args=redacted(args),
            kwargs=redacted(kwargs),
            traceback=_tail(traceback or _formatted(error)),
        ),
        now,
    )


def keep_raw_message(raw: bytes, why: str, queue: str | None = None) -> None:
    """The dead letter of a message that is none: its bytes are kept as they came but for secrets, base64 in `args`."""
    now, kept = time.time(), redacted_bytes(raw)
    _keep(
        DeadLetter(
            queue_from=DeadLetterQueue.TASKS,
            error_class="UndecodableMessage",
            error_message=redacted_text(why)[:MAX_TEXT],
            failed_at=iso_utc(now),
            id=letter_id(DeadLetterQueue.TASKS, raw, f"{now}"),
            args=[base64.b64encode(kept[:MAX_RAW]).decode()],
            kwargs={"queue": queue, "bytes": len(raw)},
        ),
        now,
    )


def _keep(letter: DeadLetter, now: float) -> None:
    what = on_one_line(f"{letter.task or 'a message'}: {letter.error_class}: {letter.error_message}")
    try:
        if keep(database(), settings(), DeadLetterQueue.TASKS, letter, now):
            _log.error("[!] [dlq] Kept dead letter %s of %s", letter.id, what)
    except VmpoolerTasksError as error:
        # The log is the last place where it is not lost.
        _log.critical("[!] [dlq] %s; the dead letter could not be kept: %s", error, letter.member())


def _named(kwargs: Any, name: str) -> str | None:
    value = kwargs.get(name) if isinstance(kwargs, dict) else None
    return value if isinstance(value, str) else None


def _formatted(error: BaseException | None) -> str | None:
    if error is None or error.__traceback__ is None:
        return None
    return "".join(tracebacks.format_exception(error))


def _tail(text: str | None) -> str | None:
    return None if not text else redacted_text(text)[-MAX_TEXT:]


def plain(value: Any) -> Any:
    """Arguments as JSON would carry them; what it cannot carry becomes its repr."""
    return json.loads(json.dumps(value, default=repr))
