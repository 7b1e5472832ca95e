"""Where Celery tells of failures and of starts. Which failure reaches which signal: docs/reliability.md."""

import logging
import os
import socket
from typing import Any

from celery import signals

from vmpooler_tasks.config import Pool
from vmpooler_tasks.config.schema import shown
from vmpooler_tasks.errors import ConfigurationError, VmpoolerTasksError
from vmpooler_tasks.jobs.health.server import check_server
from vmpooler_tasks.logs import refuse
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.redrive import read_lineage
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.store.pools import overrides
from vmpooler_tasks.store.redis import server
from vmpooler_tasks.tasks.celery.configuration import settings
from vmpooler_tasks.tasks.celery.failures import keep_failed_task, keep_raw_message, plain
from vmpooler_tasks.tasks.database import database
from vmpooler_tasks.tasks.observe.log_filter import hush
from vmpooler_tasks.tasks.observe.startup import switched_on
from vmpooler_tasks.tasks.pool_manager import try_providers

_log = logging.getLogger("vmpooler_tasks")


@signals.task_failure.connect(weak=False)
def _task_failed(
    sender: Any,
    task_id: str,
    exception: BaseException,
    args: Any,
    kwargs: Any,
    traceback: Any,
    einfo: Any,
    **_: Any,
) -> None:
    """Exceptions, time limits, lost workers, rejects: in the child or in the main process, at times in both."""
    del traceback
    request = getattr(sender, "request", None)
    keep_failed_task(
        task=getattr(sender, "name", None),
        task_id=task_id,
        args=plain(args),
        kwargs=plain(kwargs),
        retries=getattr(request, "retries", None) or 0,
        error=exception,
        traceback=getattr(einfo, "traceback", None),
        tick=bool(getattr(request, "tick", False)),
        lineage=read_lineage(getattr(request, "redrive", None)),
    )


@signals.task_revoked.connect(weak=False)
def _task_revoked(sender: Any, request: Any, terminated: bool, expired: bool, **_: Any) -> None:
    headers = getattr(request, "headers", None) or {}
    if expired and (headers.get("tick") or getattr(request, "tick", False)):
        return  # a tick that nobody ran in time: the next one does its work
    what = "terminated" if terminated else "expired" if expired else "revoked"
    keep_failed_task(
        task=getattr(sender, "name", None),
        task_id=request.id,
        args=plain(request.args),
        kwargs=plain(request.kwargs),
        retries=getattr(request, "retries", None) or 0,
        error=RuntimeError(f"the task was {what}"),
        error_class="TaskRevokedError",
        lineage=read_lineage(getattr(request, "redrive", None)),
    )


@signals.task_unknown.connect(weak=False)
def _task_unknown(message: Any, exc: BaseException, name: str, id: str, **_: Any) -> None:  # noqa: A002 - Celery's name
    args, kwargs = _arguments(message)
    keep_failed_task(
        task=name,
        task_id=id,
        args=args,
        kwargs=kwargs,
        retries=0,
        error=RuntimeError(f"no task of this name is registered: {exc}"),
        error_class="NotRegistered",
        lineage=read_lineage((message.headers or {}).get("redrive")),
    )


@signals.task_rejected.connect(weak=False)
def _message_rejected(message: Any, exc: BaseException | None, **_: Any) -> None:
    why = f"the message is no task: {exc}" if exc else "the message is no task"
    keep_raw_message(_raw(message), why, (message.delivery_info or {}).get("routing_key"))


def _arguments(message: Any) -> tuple[Any, Any]:
    try:
        args, kwargs, _ = message.payload
    except Exception:  # noqa: BLE001 - an undecodable body is one more thing to keep, not to fail on
        return None, None
    return args, kwargs


def _raw(message: Any) -> bytes:
    body = message.body
    return body if isinstance(body, bytes) else str(body).encode("utf-8", errors="replace")


@signals.celeryd_init.connect(weak=False)
def _try_providers(**_: Any) -> None:
    """A worker that could not make a VM does not start."""
    if settings().config.manage_pools:
        try:
            try_providers(settings())
        except ConfigurationError as error:
            refuse(error)


@signals.worker_ready.connect(weak=False)
def _register_pools(**_: Any) -> None:
    """The API server knows the pools from Redis."""
    if settings().config.manage_pools:
        try:
            overrides.register(database(), {pool.name: _registered(pool) for pool in settings().pools})
        except VmpoolerTasksError as error:
            _log.warning("[!] [config] the pools could not be registered: %s", on_one_line(str(error)))


def _registered(pool: Pool) -> dict[str, str]:
    """A pool's settings as VMPooler registers them."""
    fields = {name: value for name, value in pool.as_written().items() if isinstance(value, str | int | float)}
    domain = settings().domain_of(pool)
    return {
        **{name: shown(value) for name, value in fields.items()},
        **({"alias": ",".join(pool.alias)} if pool.alias else {}),
        **({"domain": domain} if domain else {}),
    }


@signals.after_setup_logger.connect(weak=False)
def _hush(**_: Any) -> None:
    hush()


@signals.celeryd_after_setup.connect(weak=False)
def _worker_starts(**_: Any) -> None:
    for line in switched_on(settings()):
        _log.info("%s", line)


@signals.worker_ready.connect(weak=False)
@signals.beat_init.connect(weak=False)
def _publish_config(**_: Any) -> None:
    """So that `redis-cli HGET vmpooler__config dlq_enabled` answers, as the guide has it."""
    try:
        health_record.publish_config(database(), settings().published())
    except VmpoolerTasksError as error:
        _log.warning("[!] [config] vmpooler__config could not be written: %s", on_one_line(str(error)))


@signals.worker_ready.connect(weak=False)
def _warn_of_server(**_: Any) -> None:
    """A Redis that evicts or forgets loses what this project promises to keep: better said at the start."""
    try:
        findings = list(check_server(server.facts(database())))
    except VmpoolerTasksError as error:
        _log.warning("[!] [redis] %s", on_one_line(str(error)))
        return
    for finding in findings:
        if finding.state != "ok":
            _log.warning("[!] [redis] %s: %s; %s", finding.what, finding.found, finding.remedy)


def beat_name() -> str:
    """Tells one beat from another: host:pid."""
    return f"{socket.gethostname()}:{os.getpid()}"
