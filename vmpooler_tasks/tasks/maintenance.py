"""The periodic tasks. `celery -A vmpooler_tasks call …` and Flower's API run them ad hoc."""

from collections.abc import Sequence
from typing import Any

from celery import shared_task

from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.purge import cycle as purge_cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.tasks.celery.base import Task
from vmpooler_tasks.tasks.guards import published_config
from vmpooler_tasks.tasks.observe.publisher import publish
from vmpooler_tasks.tasks.process import broker, database, settings
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
    """Run a purge cycle, as `vmpooler-tasks purge` does. Return its JSON without the entries, which are in the log.

    Raises InvalidInputError for an argument of a wrong type, or an unknown pool or queue.
    """
    options = PurgeOptions(
        dry_run=dry_run,
        pools=pools,
        queues=queues,
        force=force,
        why=why,
        who=who or ("beat" if self.request.get("tick") else f"task {self.request.id}"),
    )
    report = purge_cycle.run(database(), settings(), database().clock, options).as_json()
    del report["entries"]
    return report


@shared_task(name=HEALTH_CHECK, base=Task, bind=True, ignore_result=False)
def run_health_check(self: Task) -> dict[str, Any]:
    """Run a health check, as `vmpooler-tasks health` does. Return its JSON.

    Only a check that beat requested keeps the status from becoming stale.
    """
    published_config.publish(only_if_missing=True)
    report = health_check.run(
        database(),
        settings(),
        database().clock,
        is_scheduled=bool(self.request.get("tick")),
        publish=publish,
        broker=broker(),
    )
    return {"skipped": "health checks are switched off"} if report is None else report.as_json()
