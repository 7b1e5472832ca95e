"""The checks of `vmpooler-tasks doctor`: what was found, and what to do about it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from vmpooler_tasks.cli.output import age
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.schema import without_login
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs import health
from vmpooler_tasks.model.health import OVERDUE_INTERVALS, Status
from vmpooler_tasks.store import Database, purging, schedule, server
from vmpooler_tasks.store.server import ServerFacts

OLDEST_VERSION = (7, 0)
SKEW_SECONDS = 5
FULL = 0.9


@dataclass(frozen=True, slots=True)
class Finding:
    """`state` is ok, warn or fail; `remedy` says what to do."""

    state: str
    what: str
    found: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def diagnose(settings: Settings, db: Database) -> Iterator[Finding]:
    """Each finding as it is made; with Redis out of reach nothing else can be looked at."""
    yield Finding("ok", "configuration", f"{settings.source} is valid")
    try:
        facts = server.facts(db)
    except VmpoolerTasksError as error:
        yield Finding("fail", "Redis", str(error), "is it running there? REDIS_URL or the :redis: section names it")
        return
    for check in (_reachable, _version, _role, _eviction, _memory, _persistence, _clock):
        yield check(facts, db)
    for look in (_broker, _workers, _beats, _last_purge, _last_health):
        yield _guarded(look, settings, db)


def _guarded(look: Callable[[Settings, Database], Finding], settings: Settings, db: Database) -> Finding:
    try:
        return look(settings, db)
    except VmpoolerTasksError as error:
        return Finding("fail", look.__name__.strip("_").replace("_", " "), str(error))


def _reachable(facts: ServerFacts, db: Database) -> Finding:
    return Finding("ok", "Redis", f"{db.address} answers in {facts.round_trip_seconds * 1000:.1f} ms")


def _version(facts: ServerFacts, db: Database) -> Finding:
    del db
    found = f"{facts.product} {'.'.join(map(str, facts.version))}"
    if facts.version < OLDEST_VERSION:
        return Finding("fail", "version", found, "Redis 7.0 or Valkey is the oldest that these scripts run on")
    return Finding("ok", "version", found)


def _role(facts: ServerFacts, db: Database) -> Finding:
    del db
    if facts.role not in (None, "master"):
        return Finding("fail", "role", f"{facts.role}: it takes no writes", "connect to the primary")
    return Finding("ok", "role", facts.role or "unknown")


def _eviction(facts: ServerFacts, db: Database) -> Finding:
    del db
    if facts.eviction_policy in (None, "noeviction"):
        return Finding("ok", "eviction", facts.eviction_policy or "unknown")
    return Finding(
        "warn", "eviction", f"{facts.eviction_policy}: Redis may throw away queues, dead letters and tasks",
        "set maxmemory-policy noeviction",
    )  # fmt: skip


def _memory(facts: ServerFacts, db: Database) -> Finding:
    del db
    used, most = facts.used_memory or 0, facts.max_memory or 0
    found = f"{used / 2**20:.0f} MiB used" + (f" of {most / 2**20:.0f} MiB" if most else ", no limit set")
    if most and used > FULL * most:
        return Finding("warn", "memory", found, "raise maxmemory: when it is full, Redis refuses writes")
    return Finding("ok", "memory", found)


def _persistence(facts: ServerFacts, db: Database) -> Finding:
    del db
    if facts.persistent is None:
        return Finding("ok", "persistence", "unknown: CONFIG may not be asked")
    if not facts.persistent:
        return Finding("warn", "persistence", "none: a restart of Redis loses everything", "set appendonly yes")
    return Finding("ok", "persistence", "on")


def _clock(facts: ServerFacts, db: Database) -> Finding:
    del db
    skew = facts.clock_ahead_seconds
    if abs(skew) > SKEW_SECONDS:
        return Finding("warn", "clock", f"Redis is {skew:+.1f} s away from here", "run NTP on both machines")
    return Finding("ok", "clock", f"Redis is {skew:+.2f} s away from here")


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
