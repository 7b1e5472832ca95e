"""The checks of `vmpooler-tasks doctor`: what was found, and what to do about it."""

from collections.abc import Callable, Iterator

from vmpooler_tasks.cli.output import age
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.schema import without_login
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs import health
from vmpooler_tasks.jobs.server_check import Finding, check_server
from vmpooler_tasks.model.health import OVERDUE_INTERVALS, Status
from vmpooler_tasks.store import Database, purging, schedule, server

REDIS = "Redis"
"""What the finding is called that all others depend on."""


def diagnose(settings: Settings, db: Database) -> Iterator[Finding]:
    """Each finding as it is made; with Redis out of reach nothing else can be looked at."""
    yield Finding("ok", "configuration", f"{settings.source} is valid")
    try:
        facts = server.facts(db)
    except VmpoolerTasksError as error:
        yield Finding("fail", REDIS, str(error), "is it running there? REDIS_URL or the :redis: section names it")
        return
    yield Finding("ok", REDIS, f"{db.address} answers in {facts.round_trip_seconds * 1000:.1f} ms")
    yield from check_server(facts)
    for look in (_broker, _workers, _beats, _last_purge, _last_health):
        yield _guarded(look, settings, db)


def _guarded(look: Callable[[Settings, Database], Finding], settings: Settings, db: Database) -> Finding:
    try:
        return look(settings, db)
    except VmpoolerTasksError as error:
        return Finding("fail", look.__name__.strip("_").replace("_", " "), str(error))


def _broker(settings: Settings, db: Database) -> Finding:
    shown = without_login(settings.broker_location)
    if settings.broker_url is None:
        return Finding("ok", "broker", f"the same Redis ({shown})")
    if settings.broker_location.startswith(("redis://", "rediss://", "unix://")):
        Database(settings.broker_location).call("PING")
    del db
    return Finding("ok", "broker", f"{shown} answers")


def _workers(settings: Settings, db: Database) -> Finding:
    from vmpooler_tasks.tasks.enqueue import live_workers  # noqa: PLC0415 - Celery is slow to import

    del db
    workers = live_workers(settings)
    if not workers:
        return Finding("fail", "workers", "none answers", "start one: celery -A vmpooler_tasks worker")
    return Finding("ok", "workers", f"{len(workers)}: {', '.join(workers)}")


def _beats(settings: Settings, db: Database) -> Finding:
    del settings
    beats = schedule.live_beats(db, system_clock())
    if not beats:
        return Finding("fail", "beat", "none runs: nothing is scheduled", "start one: celery -A vmpooler_tasks beat")
    return Finding("ok", "beat", f"{len(beats)}: {', '.join(beats)}")


def _last_purge(settings: Settings, db: Database) -> Finding:
    config, state, now = settings.config, purging.read_state(db), system_clock()
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
        return Finding("warn", "last purge", "never", "beat sends the first one as soon as it runs")
    since_last = now - state.finished
    found = f"{age(since_last)} ago"
    if since_last > (1 + OVERDUE_INTERVALS) * config.purge_interval:
        return Finding("fail", "last purge", f"{found}: overdue", "see whether a worker and beat run")
    return Finding("ok", "last purge", found)


def _last_health(settings: Settings, db: Database) -> Finding:
    if not settings.config.health_check_enabled:
        return Finding("ok", "health", "health checks are switched off (health_check_enabled)")
    report = health.read(db, settings, system_clock)
    codes = ", ".join(sorted({reason.code for reason in report.verdict.reasons}))
    found = f"{report.verdict.status} at {report.last_check or 'no time'}" + (f": {codes}" if codes else "")
    state = {Status.HEALTHY: "ok", Status.DEGRADED: "warn", Status.UNHEALTHY: "fail"}[report.verdict.status]
    remedy = "" if state == "ok" else "see vmpooler-tasks health --no-check"
    return Finding(state, "health", found, remedy)
