"""The checks of `vmpooler-tasks doctor`: what was found, and what to do about it."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from vmpooler_tasks.cli.shared.lazy import LazyModule
from vmpooler_tasks.cli.shared.output import age
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.redis_address import without_login
from vmpooler_tasks.errors import ConfigurationError, VmpoolerTasksError
from vmpooler_tasks.jobs.health.read import read
from vmpooler_tasks.jobs.health.server import Finding, check_server, refused_write, remedy
from vmpooler_tasks.metrics.push import servers
from vmpooler_tasks.model.health.status import OVERDUE_INTERVALS, Status
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet import schedule
from vmpooler_tasks.store.pools import breakers, other_manager
from vmpooler_tasks.store.purge import batches
from vmpooler_tasks.store.redis import server
from vmpooler_tasks.tasks.pool_context import try_providers
from vmpooler_tasks.tasks.registry import QUEUES

if TYPE_CHECKING:
    from vmpooler_tasks.tasks import enqueue as client
else:
    client = LazyModule("vmpooler_tasks.tasks.enqueue")  # Celery is slow to import

REDIS = "Redis"
"""What the finding is called that all others depend on."""

POOL_MANAGER = "pool manager"
METRICS = "metrics"

ADDRESS = "REDIS_URL or the :redis: section"
SHOW_HEALTH = "vmpooler-tasks health --no-check"

Findings = dict[str, Finding]
"""Those made so far, by what they are about."""


def diagnose(settings: Settings, db: Database) -> Iterator[Finding]:
    """Each finding as it is made; with Redis out of reach nothing else can be looked at."""
    yield Finding("ok", "configuration", f"{settings.source} is valid")
    try:
        facts = server.facts(db)
    except VmpoolerTasksError as error:
        yield Finding("fail", REDIS, str(error), remedy(error, ADDRESS))
        return
    yield Finding("ok", REDIS, f"{db.address} answers in {facts.round_trip_seconds * 1000:.1f} ms")
    yield from check_server(facts)
    made: Findings = {}
    for what, look in _LOOKS.items():
        try:
            made[what] = look(settings, db, made)
        except VmpoolerTasksError as error:
            named_by = "CELERY_BROKER_URL" if what in ("broker", "workers") and settings.broker_url else ADDRESS
            made[what] = Finding("fail", what, str(error), remedy(error, named_by))
        yield made[what]


def _broker(settings: Settings, db: Database, made: Findings) -> Finding:
    del db, made
    shown = without_login(settings.broker_location)
    if settings.broker_url is None:
        return Finding("ok", "broker", f"the same Redis ({shown})")
    Database(settings.broker_location).call("PING")
    return Finding("ok", "broker", f"{shown} answers")


def _workers(settings: Settings, db: Database, made: Findings) -> Finding:
    del db, made
    try:
        workers = client.live_workers(settings)
    except VmpoolerTasksError as error:
        if writes := refused_write(error):  # the question itself is a message in Redis
            return Finding("fail", "workers", f"they cannot be asked: {writes[0]}", writes[1])
        raise
    if not workers:
        return Finding("fail", "workers", "none answers", "start one: celery -A vmpooler_tasks worker")
    return Finding("ok", "workers", f"{len(workers)}: {', '.join(workers)}")


def _beats(settings: Settings, db: Database, made: Findings) -> Finding:
    del settings, made
    beats = schedule.live_beats(db, system_clock())
    if not beats:
        return Finding("fail", "beat", "none runs: nothing is scheduled", "start one: celery -A vmpooler_tasks beat")
    return Finding("ok", "beat", f"{len(beats)}: {', '.join(beats)}")


def _pool_manager(settings: Settings, db: Database, made: Findings) -> Finding:
    if not settings.config.manage_pools:
        return Finding("ok", POOL_MANAGER, "switched off (manage_pools)")
    try:
        try_providers(settings)
    except ConfigurationError as error:
        return Finding("fail", POOL_MANAGER, "; ".join(error.problems), "mend the :providers: section, or install it")
    if other_manager.recent_sightings(db):
        remedy_of_two = "stop VMPooler's manager, or set manage_pools: false"
        return Finding("fail", POOL_MANAGER, "another one is at work on this Redis", remedy_of_two)
    untaken = sorted(set(QUEUES) - client.queues_taken(settings)) if made["workers"].state == "ok" else []
    if untaken:
        start = f"start one: celery -A vmpooler_tasks worker -Q {','.join(untaken)}"
        return Finding("fail", POOL_MANAGER, f"no worker takes {', '.join(untaken)}", start)
    alone = [one.name for one in breakers.suspended_providers(db, settings.providers)]
    alone += [one.name for one in breakers.suspended_pools(db, (pool.name for pool in settings.pools))]
    if alone:
        return Finding("warn", POOL_MANAGER, f"left alone after failures: {', '.join(alone)}", "vmpooler-tasks pools")
    return Finding("ok", POOL_MANAGER, f"{len(settings.pools)} pools on {', '.join(settings.providers)}")


def _who_is_missing(made: Findings) -> str:
    """What to do about a cycle that never came, going by what was found to run."""
    missing = [what for what in ("workers", "beat") if made[what].state != "ok"]
    if not missing:
        return "a worker and beat run: it comes with beat's next tick; if it does not, the worker's log says why"
    return f"mend first what is said of {' and '.join(missing)} above"


def _last_purge(settings: Settings, db: Database, made: Findings) -> Finding:
    config, state, now = settings.config, batches.read_state(db), system_clock()
    if not config.purge_enabled:
        return Finding("ok", "last purge", "purge is switched off (purge_enabled)")
    if state.running:
        return Finding("ok", "last purge", "one is running now")
    if state.failure is not None:
        return Finding("fail", "last purge", f"failed: {state.failure}", "the next cycle tries again")
    if state.unfinished_since is not None:
        since = age(now - state.unfinished_since)
        return Finding("warn", "last purge", f"began {since} ago and never ended", "the next cycle takes over")
    if state.finished is None:
        return Finding("warn", "last purge", "never", _who_is_missing(made))
    since_last = now - state.finished
    found = f"{age(since_last)} ago"
    if since_last > (1 + OVERDUE_INTERVALS) * config.purge_interval:
        return Finding("fail", "last purge", f"{found}: overdue", _who_is_missing(made))
    return Finding("ok", "last purge", found)


def _last_health(settings: Settings, db: Database, made: Findings) -> Finding:
    if not settings.config.health_check_enabled:
        return Finding("ok", "health", "health checks are switched off (health_check_enabled)")
    report = read(db, settings, system_clock)
    codes = ", ".join(sorted({reason.code for reason in report.verdict.reasons}))
    found = f"{report.verdict.status} at {report.last_check or 'no time'}" + (f": {codes}" if codes else "")
    state = {Status.HEALTHY: "ok", Status.DEGRADED: "warn", Status.UNHEALTHY: "fail"}[report.verdict.status]
    if state == "ok":
        return Finding(state, "health", found)
    return Finding(state, "health", found, _who_is_missing(made) if codes == "stale" else f"see {SHOW_HEALTH}")


def _metrics(settings: Settings, db: Database, made: Findings) -> Finding:
    del db, made
    wanted = servers(settings)
    if not wanted:
        return Finding("ok", METRICS, "no StatsD and no Graphite is configured")
    reached, troubles = [], []
    for one in wanted:
        try:
            reached.append(one.look())
        except (OSError, UnicodeError) as error:
            troubles.append(f"{one.address}: {error}")
    if troubles:
        mend = "look at the server, the firewall, and the :statsd: or :graphite: section"
        return Finding("warn", METRICS, on_one_line("; ".join(troubles)), mend)
    return Finding("ok", METRICS, "; ".join(reached))


_LOOKS: dict[str, Callable[[Settings, Database, Findings], Finding]] = {
    "broker": _broker,
    "workers": _workers,
    "beat": _beats,
    POOL_MANAGER: _pool_manager,
    "last purge": _last_purge,
    "health": _last_health,
    METRICS: _metrics,
}
