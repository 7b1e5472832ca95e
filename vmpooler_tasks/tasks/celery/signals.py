"""Receivers of Celery's signals about failures and starts. docs/reliability.md: which failure reaches which signal."""

import logging
import os
import socket
import threading
from collections.abc import Mapping
from typing import Any

from celery import current_app, signals

from vmpooler_tasks.errors import ConfigurationError, VmpoolerTasksError
from vmpooler_tasks.jobs.health.server import check_server
from vmpooler_tasks.jobs.notifications.notifier import Notifier
from vmpooler_tasks.logs import end_with_error
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.redrive import read_lineage
from vmpooler_tasks.store.redis import server
from vmpooler_tasks.tasks.celery.failures import FailedTask, keep_failed_task, keep_message, plain
from vmpooler_tasks.tasks.celery.internal_errors import guard_tracers
from vmpooler_tasks.tasks.celery.message_times import to_server_time
from vmpooler_tasks.tasks.guards import published_config
from vmpooler_tasks.tasks.guards.removed_pools import name_removed_pools
from vmpooler_tasks.tasks.observe import log_filter, log_format, outages
from vmpooler_tasks.tasks.observe.log_filter import LateTasks
from vmpooler_tasks.tasks.observe.startup import feature_lines, warning_lines
from vmpooler_tasks.tasks.observe.watcher import start_watcher
from vmpooler_tasks.tasks.pool_context import find_unmarked, try_providers
from vmpooler_tasks.tasks.process import database, settings

_log = logging.getLogger("vmpooler_tasks")


def _on_task_failure(
    sender: Any,
    task_id: str,
    exception: BaseException,
    args: Any,
    kwargs: Any,
    traceback: Any,
    einfo: Any,
    **_: Any,
) -> None:
    """Keep exceptions, time limits, lost workers and rejects: reported by the child, the main process, or both."""
    del traceback
    request = getattr(sender, "request", None) or {}
    shown, is_tick = getattr(einfo, "traceback", None), bool(request.get("tick"))
    _keep_failed(sender, task_id, args, kwargs, request, error=exception, traceback=shown, is_tick=is_tick)


def _keep_failed(task: Any, task_id: str, args: Any, kwargs: Any, request: Any, **about: Any) -> None:
    """Keep a task that failed. `request`: its headers, or Celery's Context. `about`: other fields of FailedTask."""
    keep_failed_task(
        FailedTask(
            name=getattr(task, "name", None),
            task_id=task_id,
            args=plain(args),
            kwargs=plain(kwargs),
            retries=request.get("retries") or 0,
            lineage=read_lineage(request.get("redrive")),
            **about,
        )
    )


def _write_server_times(headers: dict[str, Any] | None, **_: Any) -> None:
    """Write the times of a message before it is sent, whatever this machine's clock shows."""
    if headers is not None:
        to_server_time(headers)


def _on_internal_error(
    sender: Any, task_id: str, args: Any, kwargs: Any, request: Any, exception: BaseException, **_: Any
) -> None:
    """Keep errors of Celery's own work around a task. If the task failed too, both are the same dead letter."""
    headers = request if isinstance(request, Mapping) else {}
    _keep_failed(sender, task_id, args, kwargs, headers, error=exception, is_tick=bool(headers.get("tick")))


def _guard_tracers(**_: Any) -> None:
    """Report errors of Celery's own work in a child process."""
    guard_tracers(current_app.tasks.values())


def _on_task_revoked(sender: Any, request: Any, terminated: bool, expired: bool, **_: Any) -> None:
    headers = request.get("headers") or {}
    if expired and (headers.get("tick") or request.get("tick")):
        return  # a tick that no worker took in time: the next one does its work
    what = "terminated" if terminated else "expired" if expired else "revoked"
    error = RuntimeError(f"the task was {what}")
    _keep_failed(sender, request.id, request.args, request.kwargs, request, error=error, error_class="TaskRevokedError")


def _on_task_unknown(message: Any, exc: BaseException, name: str, id: str, **_: Any) -> None:  # noqa: A002 - Celery's name
    args, kwargs = _arguments(message)
    keep_failed_task(
        FailedTask(
            name=name,
            task_id=id,
            args=args,
            kwargs=kwargs,
            retries=0,
            error=RuntimeError(f"no task of this name is registered: {exc}"),
            error_class="NotRegistered",
            lineage=read_lineage((message.headers or {}).get("redrive")),
        )
    )


def _on_task_rejected(message: Any, exc: BaseException | None, **_: Any) -> None:
    keep_message(message, f"the message is not a task: {exc}" if exc else "the message is not a task")


def _arguments(message: Any) -> tuple[Any, Any]:
    try:
        args, kwargs, _ = message.payload
    except Exception:  # noqa: BLE001 - a body that cannot be decoded is kept without arguments
        return None, None
    return args, kwargs


def _try_providers(**_: Any) -> None:
    """End a worker that could not make a VM, before it starts."""
    if settings().config.manage_pools:
        try:
            try_providers(settings())
        except ConfigurationError as error:
            end_with_error(error)


def _log_features(**_: Any) -> None:
    for line in feature_lines(settings()):
        _log.info("%s", line)
    for line in warning_lines(settings()):
        _log.warning("%s", line)
    for line in find_unmarked(settings()) if settings().config.manage_pools else ():
        _log.warning("[!] [config] %s", line)


def _publish_config(**_: Any) -> None:
    """Write `vmpooler__config`."""
    published_config.publish()


def _name_removed_pools(**_: Any) -> None:
    """Log the pools with VMs that are in no configuration, in a thread: that walks the whole keyspace."""
    threading.Thread(target=name_removed_pools, name="removed-pools", daemon=True).start()


def _log_server_problems(**_: Any) -> None:
    """Log at the start what a Redis lacks: one that evicts or does not persist loses what has to be kept."""
    try:
        findings = list(check_server(server.facts(database())))
    except VmpoolerTasksError as error:
        _log.warning("[!] [redis] %s", on_one_line(str(error)))
        return
    for finding in findings:
        if finding.state != "ok":
            _log.warning("[!] [redis] %s: %s; %s", finding.what, finding.found, finding.remedy)


def _start_notifier(**_: Any) -> None:
    """Let this process notify people of a change of the health status."""
    Notifier(database(), settings(), database().clock).start()


def _start_watcher(**_: Any) -> None:
    """Check health in seconds after a fact changed, whatever the interval."""
    start_watcher()


def _start_notifier_of_beat(**_: Any) -> None:
    """Let this beat do the same, and report an outage of Redis: there are fewer beats than workers."""
    Notifier(database(), settings(), database().clock, follows_outages=True).start()


def beat_name() -> str:
    """Return the name under which this beat is recorded: host:pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


_late_tasks = LateTasks()

_RECEIVERS = (
    (signals.before_task_publish, _write_server_times),
    (signals.task_failure, _on_task_failure),
    (signals.task_internal_error, _on_internal_error),
    (signals.worker_process_init, _guard_tracers),
    (signals.task_revoked, _on_task_revoked),
    (signals.task_revoked, _late_tasks.on_revoked),
    (signals.task_unknown, _on_task_unknown),
    (signals.task_rejected, _on_task_rejected),
    (signals.celeryd_init, _try_providers),
    (signals.after_setup_logger, log_format.format_handlers),
    (signals.after_setup_logger, log_filter.install),
    (signals.after_setup_logger, outages.filter_handlers),
    (signals.after_setup_task_logger, outages.filter_handlers),
    (signals.worker_process_init, outages.silence_child),
    (signals.celeryd_init, outages.announce_of_worker),
    (signals.beat_init, outages.announce_of_beat),
    (signals.after_setup_task_logger, log_format.format_task_handlers),
    (signals.celeryd_after_setup, _log_features),
    (signals.worker_ready, _publish_config),
    (signals.worker_ready, _log_server_problems),
    (signals.worker_ready, _start_notifier),
    (signals.worker_ready, _start_watcher),
    (signals.worker_ready, _name_removed_pools),
    (signals.beat_init, _publish_config),
    (signals.beat_init, _start_notifier_of_beat),
    (signals.beat_init, _start_watcher),
)


def connect_receivers() -> None:
    """Connect every receiver of this module. Calling it again changes nothing: Celery keeps each receiver once."""
    for signal, receiver in _RECEIVERS:
        signal.connect(receiver, weak=False)
