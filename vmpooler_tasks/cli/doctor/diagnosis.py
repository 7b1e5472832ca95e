"""The checks of `vmpooler-tasks doctor`, in their order."""

from collections.abc import Callable, Iterator

from vmpooler_tasks.cli.doctor.findings import (
    ADDRESS,
    BEAT,
    CLOCKS,
    FAIL,
    HEALTH,
    LAST_PURGE,
    METRICS_SERVERS,
    NOTIFICATIONS,
    OK,
    POOL_BRAKES,
    POOL_MANAGER,
    REDIS,
    USER_ORDERS,
    WORKERS,
    Findings,
)
from vmpooler_tasks.cli.doctor.pools import (
    check_brakes,
    check_orders,
    find_double_queued_vms,
    find_removed_pools,
    find_watched_pools,
    find_wrong_types,
)
from vmpooler_tasks.cli.doctor.processes import (
    check_beat,
    check_broker,
    check_clocks,
    check_last_health,
    check_last_purge,
    check_workers,
)
from vmpooler_tasks.cli.doctor.servers import check_metrics, check_notifications, check_pool_manager, try_all_servers
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs.health.server import Finding, check_server, remedy
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.redis import server


def diagnose(settings: Settings, db: Database) -> Iterator[Finding]:
    """Return each finding as soon as it is made; without Redis nothing after it can be checked."""
    yield Finding(OK, "configuration", f"{settings.source} is valid")
    try:
        facts = server.facts(db)
    except VmpoolerTasksError as error:
        yield Finding(FAIL, REDIS, str(error), remedy(error, ADDRESS))
        return
    yield Finding(OK, REDIS, f"{db.address} replies in {facts.round_trip_seconds * 1000:.1f} ms")
    yield from check_server(facts)
    yield from find_wrong_types(settings, db)
    yield from find_removed_pools(settings, db)
    yield from find_double_queued_vms(settings, db)
    yield from find_watched_pools(settings, db)
    earlier: Findings = {}
    for name, check in _CHECKS.items():
        try:
            earlier[name] = check(settings, db, earlier)
        except VmpoolerTasksError as error:
            named_by = "CELERY_BROKER_URL" if name in ("broker", WORKERS) and settings.broker_url else ADDRESS
            earlier[name] = Finding(FAIL, name, str(error), remedy(error, named_by))
        yield earlier[name]
        if name == POOL_MANAGER:
            yield from try_all_servers(settings, db)


_CHECKS: dict[str, Callable[[Settings, Database, Findings], Finding]] = {
    "broker": check_broker,
    WORKERS: check_workers,
    BEAT: check_beat,
    CLOCKS: check_clocks,
    POOL_MANAGER: check_pool_manager,
    USER_ORDERS: check_orders,
    POOL_BRAKES: check_brakes,
    LAST_PURGE: check_last_purge,
    HEALTH: check_last_health,
    METRICS_SERVERS: check_metrics,
    NOTIFICATIONS: check_notifications,
}
