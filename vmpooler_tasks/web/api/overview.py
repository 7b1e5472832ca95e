"""The overview that the page shows, in a constant number of round trips."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from vmpooler_tasks import __version__
from vmpooler_tasks.jobs.health.read import report_of
from vmpooler_tasks.jobs.pools.overview import overview
from vmpooler_tasks.model.fleet import Heartbeat
from vmpooler_tasks.model.names import WORK_QUEUES
from vmpooler_tasks.store.deadletters import read as dead_letters
from vmpooler_tasks.web.api.health import health_json
from vmpooler_tasks.web.api.responses import READING, OverviewResponse
from vmpooler_tasks.web.permissions import Reader
from vmpooler_tasks.web.site import Here, Site

router = APIRouter(tags=["state"])


@router.get("/api/v1/queue/overview", summary="The state of everything", responses=READING)
def show_overview(site: Here, _: Reader) -> OverviewResponse:
    found: OverviewResponse = site.overviews.get("", lambda: _overview(site))
    return found


def _worker(worker: Heartbeat) -> dict[str, Any]:
    return {
        "name": worker.name,
        "host": worker.host,
        "queues": list(worker.queues),
        "tasks": [asdict(task) for task in worker.tasks],
    }


def _overview(site: Site) -> OverviewResponse:
    now, config = site.clock(), site.settings.config
    found, rows = overview(site.db, site.settings, now, queues=WORK_QUEUES, broker=site.broker)
    health = health_json(report_of(found, site.settings, now), now)
    del health["metrics"]
    return OverviewResponse.model_validate(
        {
            "at": now,
            "health": health,
            "pools": rows,
            "dlq": {str(queue): size for queue, size in found.dlq_sizes.items()},
            "workers": [_worker(worker) for worker in found.fleet.workers],
            "beats": [beat.name for beat in found.fleet.beats],
            "messages": found.messages.waiting if found.messages else {},
            "unacknowledged": found.messages.unacknowledged if found.messages else 0,
            "purge": {
                "started": found.purge_started,
                "finished": found.purge_finished,
                "failure": found.purge_failure,
            },
            "open_requests": found.open_requests,
            "version": __version__,
            "flower": site.settings.web.flower,
            "features": {
                "dlq": config.dlq_enabled,
                "purge": config.purge_enabled,
                "purge_dry_run": config.is_purge_dry,
                "health": config.health_check_enabled,
                "manage_pools": config.manage_pools,
            },
            "revision": dead_letters.revision(site.db),
        }
    )
