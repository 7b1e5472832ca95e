"""An error in Celery's own work around a task is a failure of the task, like one in the task itself.

Celery calls errbacks, sends callbacks and the next task of a chain, and stores results. If that fails, Celery reports
nothing: with processes the message is acknowledged and the failure is lost, with threads the message is never
acknowledged. Here each of these errors is reported by the signal `task_internal_error`. Then the message is
acknowledged.
"""

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery import Task, signals, states
from celery.app.trace import TraceInfo, report_internal_error, trace_ok_t
from celery.exceptions import Reject, TimeLimitExceeded
from celery.worker.request import Request as CeleryRequest

from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.tasks.broker.holders import HELD_MESSAGES

_log = logging.getLogger("vmpooler_tasks")

_REQUEST = f"{__name__}:GuardedRequest"


def guard_requests(tasks: Iterable[Any]) -> None:
    """Let these tasks report errors in the main process. A task with a request class of its own keeps it."""
    for task in tasks:
        if task.Request == Task.Request:
            task.Request = _REQUEST


def guard_tracers(tasks: Iterable[Any]) -> None:
    """Let these tasks report errors in the process, or thread, that runs them. Calling it again changes nothing."""
    for task in tasks:
        if not isinstance(task.__trace__, _GuardedTracer):
            task.__trace__ = _GuardedTracer(task, task.__trace__)


class _GuardedTracer:
    """Call Celery's tracer of a task, which runs it, and report an error that leaves the tracer."""

    def __init__(self, task: Any, tracer: Callable[..., Any]) -> None:
        self._task, self._tracer = task, tracer

    def __call__(self, uuid: str, args: Any, kwargs: Any, request: Mapping[str, Any] | None = None) -> Any:
        try:
            return self._tracer(uuid, args, kwargs, request)
        except (Reject, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever Celery's own work raises
            _report(self._task, uuid, args, kwargs, request or {}, error)
            return trace_ok_t(report_internal_error(self._task, error), TraceInfo(states.FAILURE, error), 0.0, None)


class GuardedRequest(CeleryRequest):
    """A task that the main process has taken. Report an error that occurs while its end is handled there.

    What it shows of itself in events, for Flower, and in the log has no secrets.

    Its message is worked on from its start until it is acknowledged. Celery forgets a task at its end, and acknowledges
    its message at the next turn of the loop, or when it is connected again. A message that went back to its queue in
    between would be done twice.
    """

    def __init__(self, message: Any, *args: Any, headers: Mapping[str, Any] | None = None, **options: Any) -> None:
        shown = {**(message.headers if headers is None else headers)}
        for name in ("argsrepr", "kwargsrepr"):
            if isinstance(text := shown.get(name), str):
                shown[name] = redacted_text(text)
        super().__init__(message, *args, headers=shown, **options)

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name
        super().send_event(type, **{name: _without_secrets(value) for name, value in fields.items()})

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        HELD_MESSAGES.worked_on.add(self.message)
        super().on_accepted(pid, time_accepted)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        handle = functools.partial(super().on_failure, exc_info, send_failed_event, return_ok)
        failure = exc_info.exception
        self._handle(handle, failure.exc if isinstance(failure, ExceptionWithTraceback) else failure)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        self._handle(functools.partial(super().on_timeout, soft, timeout), TimeLimitExceeded(timeout))

    def _handle(self, handle: Callable[[], object], failure: BaseException) -> None:
        try:
            handle()
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - as above
            _log.exception("[!] [dlq] Handling the failure of %s failed", self.humaninfo())
            _report(self.task, self.id, self.args, self.kwargs, self.request_dict, failure)
            self.acknowledge()


def _without_secrets(value: Any) -> Any:
    return redacted_text(value) if isinstance(value, str) else value


def _report(task: Any, uuid: str, args: Any, kwargs: Any, request: Mapping[str, Any], error: BaseException) -> None:
    signals.task_internal_error.send(
        sender=task,
        task_id=uuid,
        args=args,
        kwargs=kwargs,
        request=request,
        exception=error,
        traceback=error.__traceback__,
        einfo=ExceptionInfo(),
    )
