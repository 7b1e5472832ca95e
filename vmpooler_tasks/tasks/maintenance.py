"""The periodic tasks. They can be run ad hoc as well: `celery -A vmpooler_tasks call …`, Flower's API."""

from collections.abc import Sequence
from typing import Any

from celery import shared_task

import vmpooler_tasks.tasks.celery.signals  # noqa: F401 - whoever runs tasks needs the hooks
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.purge import cycle as purge_cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.tasks.celery.base import Task
from vmpooler_tasks.tasks.celery.configuration import settings
from vmpooler_tasks.tasks.database import database
from vmpooler_tasks.tasks.observe.publisher import publish
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, PURGE


@shared_task(name=PURGE, base=Task, bind=True, ignore_result=False)
def purge_stale_entries(
    self: Task,
    dry_run: bool = False,
    pools: Sequence[str] = (),
    queues: Sequence[str] = (),
    force: bool = False,
    who: str | None = None,
    why: str | None = None,
) -> dict[str, Any]:
    """A purge cycle, as `vmpooler-tasks purge`; answers its JSON without the entries, which are in the log.

    Raises InvalidInputError for arguments of another type, or that name a pool or queue that is not there.
    """
    order = PurgeOptions(
        dry_run=dry_run,
        pools=pools,
        queues=queues,
        force=force,
        why=why,
        who=who or ("beat" if self.request.get("tick") else f"task {self.request.id}"),
    )
    report = purge_cycle.run(database(), settings(), system_clock, order).as_json()
    del report["entries"]
    return report


@shared_task(name=HEALTH_CHECK, base=Task, ignore_result=False)
def run_health_check() -> dict[str, Any]:
    """A health check, as `vmpooler-tasks health`; answers its JSON."""
    report = health_check.run(database(), settings(), system_clock, publish=publish)
    return {"skipped": "health checks are switched off"} if report is None else report.as_json()
