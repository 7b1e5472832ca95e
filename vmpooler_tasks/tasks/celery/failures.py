"""Every failed task becomes a dead letter, once, whichever process saw it fail."""

import base64
import json
import logging
import time
import traceback as tracebacks
from dataclasses import dataclass, replace
from typing import Any

from vmpooler_tasks.errors import StoreRefusedError, StoreUnavailableError, VmpoolerTasksError, WrongTypeError
from vmpooler_tasks.jobs.deadletters.retention import keep
from vmpooler_tasks.jobs.orders import failures as orders
from vmpooler_tasks.jobs.orders.failures import FailedOrder
from vmpooler_tasks.jobs.pools import clone
from vmpooler_tasks.jobs.pools.clone import CloneFailure
from vmpooler_tasks.model.deadletters.bounds import measured
from vmpooler_tasks.model.deadletters.entry import DeadLetter, dead_letter_id
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line
from vmpooler_tasks.model.redaction import MAX_DEPTH, TOO_DEEP, redacted, redacted_bytes, redacted_text
from vmpooler_tasks.model.redrive import Lineage
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.broker.parsing import MAX_MESSAGE_BYTES
from vmpooler_tasks.tasks.pool_context import pool_context
from vmpooler_tasks.tasks.process import database, settings

_log = logging.getLogger("vmpooler_tasks.dlq")

_CLONE_ARGUMENTS = names.TASKS[names.CLONE_VM].subject

_STORE_ERRORS = (StoreUnavailableError, StoreRefusedError, WrongTypeError)

SAME_SECONDS = 3600
"""The same failure of a repeated task is kept once in this time."""

LOGGED = ("task", "task_id", "vm", "pool")
"""Fields of a dead letter that a log line about it has."""

CIRCULAR = "[cut: within itself]"

MAX_RAW = 40_000
"""Bytes kept of a message that cannot be decoded: as base64 they fit into a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTask:
    """A failed task as a signal reports it.

    `args` and `kwargs` hold plain JSON values. `error_class` and `traceback` override what `error` has. `is_tick`: beat
    or an inspection sent it, and sends it again. `lineage`: the dead letter that it was redriven from.
    """

    name: str | None
    task_id: str | None
    args: Any
    kwargs: Any
    retries: int
    error: BaseException | None
    error_class: str | None = None
    traceback: str | None = None
    is_tick: bool = False
    lineage: Lineage | None = None

    def argument(self, name: str, position: int) -> str | None:
        """Return the argument of this name, or at this position, if it is text."""
        args = self.args if isinstance(self.args, list | tuple) else ()
        value = self.kwargs.get(name) if isinstance(self.kwargs, dict) else None
        value = args[position] if value is None and position < len(args) else value
        return value if isinstance(value, str) else None


def keep_failed_task(failed: FailedTask) -> None:
    """Keep the dead letter of a failed task. The same delivery reported again is the same dead letter.

    A failed clone is a failed VM: its dead letter goes to the queue `clone`, and the VM leaves pending.
    """
    if failed.name == names.CLONE_VM and _fail_clone(failed):
        return
    if failed.name in names.OWN.orders and _fail_order(failed):
        return
    now, lineage = _time_of_failure(), failed.lineage
    message = redacted_text(str(failed.error)) if failed.error is not None else ""
    _keep(
        DeadLetter(
            vm=_named(failed.kwargs, "vm"),
            pool=_named(failed.kwargs, "pool"),
            queue_from=DeadLetterQueue.TASKS,
            error_class=failed.error_class or type(failed.error).__name__,
            error_message=message,
            failed_at=iso_utc(now),
            retry_count=failed.retries + (lineage.retry_count if lineage else 0),
            id=_identity(failed, now),
            task=failed.name,
            task_id=failed.task_id,
            args=redacted(failed.args),
            kwargs=redacted(failed.kwargs),
            traceback=_redacted(failed.traceback or _formatted(failed.error)),
            redrives=lineage.redrives if lineage else None,
            redrive_of=lineage.dead_letter_id if lineage else None,
            attempts=lineage.attempts or None if lineage else None,
        ),
        now,
        lineage,
    )


def _identity(failed: FailedTask, now: float) -> str:
    """Return one id an hour for a task that is repeated and fails each time for the same reason.

    A key of the wrong type fails all tasks of the pool workers: together they get one id.
    """
    is_repeated, hour = failed.is_tick or failed.name == names.DESTROY_VM, int(now // SAME_SECONDS)
    is_sent_again = is_repeated or failed.name == names.CLONE_VM or failed.name in names.OWN.orders
    if isinstance(failed.error, WrongTypeError) and is_sent_again:
        return dead_letter_id(DeadLetterQueue.TASKS, "WrongTypeError", str(failed.error), hour)
    if is_repeated and failed.lineage is None:
        what = json.dumps(failed.kwargs, sort_keys=True, default=repr)
        return dead_letter_id(DeadLetterQueue.TASKS, str(failed.name), what, type(failed.error).__name__, hour)
    return dead_letter_id(DeadLetterQueue.TASKS, failed.task_id or f"{now}", failed.retries)


def _fail_clone(failed: FailedTask) -> bool:
    """Record the failed clone of a VM, and return True.

    Return False if the arguments name no VM, Redis was out of reach, or a key has the wrong type: the VM is made later.
    """
    vm, pool, request_id = (failed.argument(name, position) for position, name in enumerate(_CLONE_ARGUMENTS))
    if vm is None or pool is None or isinstance(failed.error, _STORE_ERRORS):
        return False
    failure = CloneFailure.of(failed.error or RuntimeError("the reason is not known"))
    redacted_failure = CloneFailure(
        failed.error_class or failure.error_class, redacted_text(failure.message), failure.permanent
    )
    try:
        clone.fail(pool_context(), vm, pool, redacted_failure, failed.task_id or "", request_id)
    except VmpoolerTasksError as problem:
        # Its lease expires, and then another worker makes it.
        _log.critical(
            "[!] [dlq] %s; the failure of '%s' could not be recorded: %s", problem, vm, redacted_failure.message
        )
    return True


def _fail_order(failed: FailedTask) -> bool:
    """Record the failed order for a VM, and return True.

    Return False if the arguments name no order, the order has ended before, Redis was out of reach, or a key has the
    wrong type: the order waits, or is reported once its lease has ended.
    """
    task = names.TASKS[str(failed.name)]
    vm, pool, value = (failed.argument(name, position) for position, name in enumerate(task.subject))
    if vm is None or value is None or task.step is None or isinstance(failed.error, _STORE_ERRORS):
        return False
    error = failed.error or RuntimeError("the reason is not known")
    failure = FailedOrder(
        step=task.step,
        member=f"{vm}:{value}".encode(errors="surrogatepass"),
        error_class=failed.error_class or type(error).__name__,
        message=str(error),
        pool=pool,
        owner=f"{failed.task_id}/{failed.retries}",
        identity=_identity(failed, _time_of_failure()),
        task_id=failed.task_id,
        traceback=_redacted(failed.traceback or _formatted(failed.error)),
    )
    try:
        return orders.fail(pool_context(), failure)
    except VmpoolerTasksError as problem:
        # Its lease ends, and then it is repeated or reported again.
        text = "[!] [dlq] %s; the failure of the order '%s:%s' could not be recorded: %s"
        _log.critical(text, problem, on_one_line(vm), on_one_line(value), redacted_text(failure.message))
        return True


def keep_raw_message(raw: bytes, why: str, queue: str | None = None, size: int | None = None) -> bool:
    """Keep the dead letter of a message that cannot be used: its bytes without secrets, as base64 in `args`.

    `size`: its bytes, if `raw` may be only the start of it. Return False if the dead letter could not be kept.
    """
    now, size = _time_of_failure(), len(raw) if size is None else size
    if len(raw) > MAX_MESSAGE_BYTES:
        raw = raw[:MAX_RAW]
    kept = redacted_bytes(raw)
    is_cut = len(kept) > MAX_RAW or size > len(raw)
    return _keep(
        DeadLetter(
            queue_from=DeadLetterQueue.TASKS,
            error_class="UndecodableMessage",
            error_message=redacted_text(why),
            failed_at=iso_utc(now),
            id=dead_letter_id(DeadLetterQueue.TASKS, raw, f"{now}"),
            args=[base64.b64encode(kept[:MAX_RAW]).decode()],
            kwargs={"queue": queue, "bytes": size},
            cut={"args": measured(kept)} if is_cut else None,
        ),
        now,
    )


def keep_message(message: Any, why: str) -> bool:
    """Keep the dead letter of a message that kombu has parsed and Celery cannot use: its body.

    Return False if the dead letter could not be kept.
    """
    body = message.body if isinstance(message.body, bytes) else str(message.body).encode("utf-8", errors="replace")
    return keep_raw_message(body, why, (message.delivery_info or {}).get("routing_key"))


def _keep(dead_letter: DeadLetter, now: float, lineage: Lineage | None = None) -> bool:
    """Keep a dead letter, and log it. Return False if Redis did not take it: then the log alone has it."""
    what = f"{dead_letter.task or 'a message'}: {dead_letter.error_class}: {dead_letter.error_message}"
    named = {"dead_letter": dead_letter.id, **{name: getattr(dead_letter, name) for name in LOGGED}}
    about = {name: value for name, value in named.items() if value}
    try:
        if keep(database(), settings(), DeadLetterQueue.TASKS, dead_letter, now):
            _log.error("[!] [dlq] Kept dead letter %s of %s", dead_letter.id, on_one_line(what), extra=about)
            if lineage:
                runs.count_failure(database(), lineage.run)
    except VmpoolerTasksError as error:
        # The log is the last place to keep it.
        # That Redis did not reply needs no traceback.
        shown = replace(dead_letter, traceback=None) if isinstance(error, StoreUnavailableError) else dead_letter
        _log.critical("[!] [dlq] %s; the dead letter could not be kept: %s", error, shown.member(), extra=about)
        return False
    return True


def _time_of_failure() -> float:
    """Return the server's time. While Redis is out of reach, return this machine's: the log gets the dead letter."""
    try:
        return database().clock()
    except VmpoolerTasksError:
        return time.time()


def _named(kwargs: Any, name: str) -> str | None:
    value = kwargs.get(name) if isinstance(kwargs, dict) else None
    return value if isinstance(value, str) else None


def _formatted(error: BaseException | None) -> str | None:
    if error is None or error.__traceback__ is None:
        return None
    return "".join(tracebacks.format_exception(error))


def _redacted(text: str | None) -> str | None:
    return None if not text else redacted_text(text)


def plain(value: Any, depth: int = MAX_DEPTH, holders: frozenset[int] = frozenset()) -> Any:
    """Return the arguments as JSON carries them; a value that JSON cannot carry becomes its repr.

    A task may have changed its arguments: what is nested more than `depth` levels becomes TOO_DEEP, and a list or
    object within itself (`holders`: the ids of those around it) becomes CIRCULAR.
    """
    if not isinstance(value, dict | list | tuple):
        return _plain_value(value)
    if id(value) in holders:
        return CIRCULAR
    if depth == 0:
        return TOO_DEEP
    around = holders | {id(value)}
    if isinstance(value, dict):
        return {str(_plain_value(key)): plain(inner, depth - 1, around) for key, inner in list(value.items())}
    return [plain(inner, depth - 1, around) for inner in value]


def _plain_value(value: Any) -> Any:
    """Return a value without parts. Its repr may fail, and JSON has no numbers of thousands of digits."""
    try:
        return json.loads(json.dumps(value, default=repr))
    except Exception:  # noqa: BLE001 - the repr of any class
        return f"<{type(value).__name__}>"
