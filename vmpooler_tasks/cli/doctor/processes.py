"""Checks of the broker, the workers and beat, and of what beat last sent."""

from typing import TYPE_CHECKING

from vmpooler_tasks.cli.doctor.findings import (
    BEAT,
    CLOCKS,
    FAIL,
    HEALTH,
    LAST_PURGE,
    OK,
    SHOW_HEALTH,
    WARN,
    WORKERS,
    Findings,
    own_broker,
)
from vmpooler_tasks.cli.shared.lazy import LazyModule
from vmpooler_tasks.cli.shared.output import age
from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.redis_address import without_login
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs.health.read import read_report
from vmpooler_tasks.jobs.health.server import Finding, refused_write
from vmpooler_tasks.model.health.assessment import OVERDUE_INTERVALS
from vmpooler_tasks.model.health.explanation import explain
from vmpooler_tasks.model.health.fleet_reasons import clock_reasons
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.remote_control import permitted_commands
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.purge import state as purge_state

if TYPE_CHECKING:
    from vmpooler_tasks.tasks import enqueue as client
else:
    client = LazyModule("vmpooler_tasks.tasks.enqueue")  # Celery is slow to import


def check_broker(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return whether the Redis with Celery's messages replies."""
    del db, earlier
    address = without_login(settings.broker_location)
    if settings.broker_url is None:
        return Finding(OK, "broker", f"the same Redis ({address})")
    Database(settings.broker_location).call("PING")
    return Finding(OK, "broker", f"{address} replies")


def check_workers(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return which workers reply."""
    del earlier
    try:
        workers = _live_workers(settings, db)
    except VmpoolerTasksError as error:
        if refusal := refused_write(error):  # the request to the workers is itself a message in Redis
            return Finding(FAIL, WORKERS, f"no request can be sent to them: {refusal[0]}", refusal[1])
        raise
    if not workers:
        return Finding(FAIL, WORKERS, "no worker replies", "start one: celery -A vmpooler_tasks worker")
    return Finding(OK, WORKERS, f"{len(workers)}: {', '.join(workers)}")


def _live_workers(settings: Settings, db: Database) -> list[str]:
    """Return the workers that reply; those with a heartbeat if the configuration lets them reply to nothing."""
    if "ping" in permitted_commands(settings.config.remote_control):
        return client.live_workers(settings)
    return [worker.name for worker in heartbeats.read_fleet(db).workers]


def check_beat(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return which beats are alive."""
    del settings, earlier
    beats = [beat.name for beat in heartbeats.read_fleet(db).beats]
    if not beats:
        start = "start one: celery -A vmpooler_tasks beat"
        return Finding(FAIL, BEAT, "no beat is running: nothing is scheduled", start)
    return Finding(OK, BEAT, f"{len(beats)}: {', '.join(beats)}")


def check_clocks(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return which clocks differ from that of Redis."""
    del settings, earlier
    fleet = heartbeats.read_fleet(db)
    wrong = [explain(reason) for reason in clock_reasons(fleet)]
    if wrong:
        return Finding(FAIL, CLOCKS, "; ".join(found for found, _ in wrong), "run NTP on all machines")
    hosts = sorted({process.host for process in fleet.live})
    if not hosts:
        return Finding(OK, CLOCKS, "no worker or beat is alive whose clock could be compared")
    return Finding(OK, CLOCKS, f"at most a second from the clock of Redis: {on_one_line(', '.join(hosts))}")


def _remedy_for_missing_cycle(earlier: Findings) -> str:
    """Return what to do about a cycle that did not run, depending on the processes that were found."""
    missing = [name for name in (WORKERS, BEAT) if earlier[name].state is not OK]
    if not missing:
        return "a worker and beat are running: it runs with beat's next tick; if not, see the worker's log"
    return f"first fix {' and '.join(missing)}, above"


def check_last_purge(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return when the last purge ended, and how."""
    config, state, now = settings.config, purge_state.read(db), db.clock()
    if not config.purge_enabled:
        return Finding(OK, LAST_PURGE, "purge is switched off (purge_enabled)")
    if state.running:
        return Finding(OK, LAST_PURGE, "a purge is running now")
    if state.failure is not None:
        return Finding(FAIL, LAST_PURGE, f"failed: {state.failure}", "the next cycle tries again")
    if state.unfinished_since is not None:
        since = age(now - state.unfinished_since)
        return Finding(WARN, LAST_PURGE, f"started {since} ago and did not end", "the next cycle takes over")
    if state.finished is None:
        return Finding(WARN, LAST_PURGE, "never", _remedy_for_missing_cycle(earlier))
    since_last = now - state.finished
    found = f"{age(since_last)} ago"
    if since_last > (1 + OVERDUE_INTERVALS) * config.purge_interval:
        return Finding(FAIL, LAST_PURGE, f"{found}: overdue", _remedy_for_missing_cycle(earlier))
    return Finding(OK, LAST_PURGE, found)


_STATE_OF = {Status.HEALTHY: OK, Status.DEGRADED: WARN, Status.UNHEALTHY: FAIL}


def check_last_health(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return the recorded health status, with its reasons."""
    if not settings.config.health_check_enabled:
        return Finding(OK, HEALTH, "health checks are switched off (health_check_enabled)")
    report = read_report(db, settings, db.clock, own_broker(settings))
    codes = sorted({reason.code for reason in report.assessment.reasons})
    when = f"at {report.last_check}" if report.last_check else "(never checked)"
    found = f"{report.assessment.status} {when}" + (f": {', '.join(codes)}" if codes else "")
    state = _STATE_OF[report.assessment.status]
    if state is OK:
        return Finding(state, HEALTH, found)
    is_missing = ReasonCode.STALE in codes
    return Finding(state, HEALTH, found, _remedy_for_missing_cycle(earlier) if is_missing else f"see {SHOW_HEALTH}")
