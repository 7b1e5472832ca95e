"""Health checks of a test's database, and what they leave in it."""

import json
from typing import Any

from tests.support.pool_world import PoolWorld
from tests.support.world import World, settings
from vmpooler_tasks.config import Options, Pool, Settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.model.health.explanation import HealthReason

DAY = 86400
OTHER = "ubuntu-2004-x86_64"

# Two intervals overdue is no topic of these tests unless it is.
QUIET: dict[str, Any] = {"purge_interval": 1000 * DAY, "health_check_interval": 1000 * DAY}


def check(world: World, chosen: Settings | None = None) -> HealthReport:
    report = health_check.run(world.db, chosen or settings(**QUIET), world.clock)
    assert report is not None
    return report


def reasons(report: HealthReport) -> list[tuple[str, str | None]]:
    return [(reason.code, reason.pool) for reason in report.assessment.reasons]


def reasons_by_code(world: PoolWorld) -> dict[str, HealthReason]:
    """Check the health of these pools, and return its reasons, which are recorded as well."""
    found = check(world, world.settings).assessment.reasons
    assert {one["code"] for one in json.loads(recorded(world)["reasons"])} == {reason.code for reason in found}
    return {reason.code: reason for reason in found}


def sized(**sizes: int) -> Settings:
    """Settings with pools of these sizes."""
    options = Options(health_check_enabled=True, dlq_enabled=True, health_check_interval=1000 * DAY)
    return Settings(config=options, pools=tuple(Pool(name=name, size=size) for name, size in sizes.items()))


def recorded(world: World) -> dict[str, str]:
    return {k.decode(): v.decode() for k, v in world.client.hgetall("vmpooler__health").items()}
