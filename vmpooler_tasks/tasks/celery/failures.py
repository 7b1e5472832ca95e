"""Every failed task becomes a dead letter, once, whichever process saw it fail."""

import base64
import json
import logging
import time
import traceback as tracebacks
from typing import Any

from vmpooler_tasks.errors import StoreRefusedError, StoreUnavailableError, VmpoolerTasksError
from vmpooler_tasks.jobs.deadletters.retention import keep
from vmpooler_tasks.jobs.pools import clone
from vmpooler_tasks.jobs.pools.clone import Failure
from vmpooler_tasks.model.deadletters.entry import MAX_TEXT, DeadLetter, dead_letter_id
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line
from vmpooler_tasks.model.redaction import redacted, redacted_bytes, redacted_text
from vmpooler_tasks.model.redrive import Lineage
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.celery.configuration import settings
from vmpooler_tasks.tasks.database import database
from vmpooler_tasks.tasks.pool_manager import manager

_log = logging.getLogger("vmpooler_tasks.dlq")

SAME_SECONDS = 3600
"""For so long the same failure of something that is tried again by itself is told once."""

MAX_RAW = 65_536
"""Bytes kept of a message that cannot be decoded."""


def keep_failed_task(
    *,
    task: str | None,
    task_id: str | None,
    args: Any,
    kwargs: Any,
    retries: int,
    error: BaseException | None,
    error_class: str | None = None,
    traceback: str | None = None,
    tick: bool = False,
    lineage: Lineage | None = None,
) -> None:
    """The dead letter of a failed task. Reported again for the same delivery, it is the same letter.

    A clone that failed is a VM that failed: its letter goes to `clone`, and the VM out of pending.
    """
    if task == names.CLONE_VM and _fail_clone(task_id or "", args, kwargs, error, error_class):
        return
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
            retry_count=retries + (lineage.retry_count if lineage else 0),
            id=_identity(task, task_id, kwargs, retries, error, now, tick=tick, lineage=lineage),
            task=task,
            task_id=task_id,
            args=redacted(args),
            kwargs=redacted(kwargs),
            traceback=_tail(traceback or _formatted(error)),
            redrives=lineage.redrives if lineage else None,
            redrive_of=lineage.dead_letter_id if lineage else None,
        ),
        now,
        lineage,
    )


def _identity(
    task: str | None,
    task_id: str | None,
    kwargs: Any,
    retries: int,
    error: BaseException | None,
    now: float,
    *,
    tick: bool,
    lineage: Lineage | None,
) -> str:
    """What is tried again and again by itself, and fails each time for the same reason, is one letter an hour."""
    if (tick or task == names.DESTROY_VM) and lineage is None:
        what = json.dumps(kwargs, sort_keys=True, default=repr)
        return dead_letter_id(DeadLetterQueue.TASKS, str(task), what, type(error).__name__, int(now // SAME_SECONDS))
    return dead_letter_id(DeadLetterQueue.TASKS, task_id or f"{now}", retries)


def _fail_clone(task_id: str, args: Any, kwargs: Any, error: BaseException | None, error_class: str | None) -> bool:
    """Whether the VM has failed: not if the arguments name none, or Redis was out of reach and the VM is made later."""
    named = {**dict(zip(("vm", "pool"), args or (), strict=False)), **(kwargs or {})}
    vm, pool = _named(named, "vm"), _named(named, "pool")
    if vm is None or pool is None or isinstance(error, StoreUnavailableError | StoreRefusedError):
        return False
    failure = Failure.of(error or RuntimeError("no reason is known"))
    shown = Failure(error_class or failure.error_class, redacted_text(failure.message), failure.permanent)
    try:
        clone.fail(manager(), vm, pool, shown, task_id, _named(named, "request_id"))
    except VmpoolerTasksError as problem:
        # Its lease runs out, and another worker makes it then.
        _log.critical("[!] [dlq] %s; the failure of '%s' could not be kept: %s", problem, vm, shown.message)
    return True


def keep_raw_message(raw: bytes, why: str, queue: str | None = None) -> None:
    """The dead letter of a message that is none: its bytes are kept as they came but for secrets, base64 in `args`."""
    now, kept = time.time(), redacted_bytes(raw)
    _keep(
        DeadLetter(
            queue_from=DeadLetterQueue.TASKS,
            error_class="UndecodableMessage",
            error_message=redacted_text(why)[:MAX_TEXT],
            failed_at=iso_utc(now),
            id=dead_letter_id(DeadLetterQueue.TASKS, raw, f"{now}"),
            args=[base64.b64encode(kept[:MAX_RAW]).decode()],
            kwargs={"queue": queue, "bytes": len(raw)},
        ),
        now,
    )


def _keep(letter: DeadLetter, now: float, lineage: Lineage | None = None) -> None:
    what = on_one_line(f"{letter.task or 'a message'}: {letter.error_class}: {letter.error_message}")
    named = {"letter": letter.id, "task": letter.task, "task_id": letter.task_id, "vm": letter.vm, "pool": letter.pool}
    about = {name: value for name, value in named.items() if value}
    try:
        if keep(database(), settings(), DeadLetterQueue.TASKS, letter, now):
            _log.error("[!] [dlq] Kept dead letter %s of %s", letter.id, what, extra=about)
            if lineage:
                runs.note_failure(database(), lineage.run)
    except VmpoolerTasksError as error:
        # The log is the last place where it is not lost.
        _log.critical("[!] [dlq] %s; the dead letter could not be kept: %s", error, letter.member(), extra=about)


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
