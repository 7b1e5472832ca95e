"""Checks of the servers that others run: providers, DNS, metrics and notifications."""

from collections.abc import Iterator

from vmpooler_tasks.cli.doctor.findings import (
    FAIL,
    METRICS_SERVERS,
    NOTIFICATIONS,
    OK,
    POOL_MANAGER,
    TRY_AGAIN,
    WARN,
    WORKERS,
    Findings,
)
from vmpooler_tasks.cli.shared.output import age
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import ConfigurationError, DeliveryError, VmpoolerTasksError
from vmpooler_tasks.jobs.health.read import read_report
from vmpooler_tasks.jobs.health.server import Finding
from vmpooler_tasks.jobs.notifications.notifier import is_active
from vmpooler_tasks.jobs.notifications.send import send_test
from vmpooler_tasks.jobs.online.trial import TrialState
from vmpooler_tasks.jobs.online.trials import PROVIDERS, read_all_orders, try_servers
from vmpooler_tasks.metrics.push import servers
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.notifications.message import NotificationResult
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.notifications.state import LastAttempt, read_last_attempts
from vmpooler_tasks.store.pools import breakers, other_manager
from vmpooler_tasks.tasks.pool_context import try_providers
from vmpooler_tasks.tasks.registry import QUEUES


def check_pool_manager(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return whether these workers can manage the pools: providers, another manager, queues, breakers."""
    if not settings.config.manage_pools:
        return Finding(OK, POOL_MANAGER, "switched off (manage_pools)")
    try:
        try_providers(settings)
    except ConfigurationError as error:
        return Finding(
            FAIL, POOL_MANAGER, "; ".join(error.problems), "fix the :providers: section, or install the provider"
        )
    watch = other_manager.read_watch(db)
    if watch.is_other_seen:
        seen = f"another pool manager uses this Redis. Last seen: {on_one_line(watch.evidence)}"
        return Finding(FAIL, POOL_MANAGER, seen, "stop VMPooler's manager, or set manage_pools: false")
    fleet = heartbeats.read_fleet(db)
    untaken = [queue for queue in QUEUES if not fleet.workers_of(queue)] if earlier[WORKERS].state is OK else []
    if untaken:
        start = f"start one: celery -A vmpooler_tasks worker -Q {','.join(untaken)}"
        return Finding(FAIL, POOL_MANAGER, f"no worker takes {', '.join(untaken)}", start)
    suspended = breakers.suspended_providers(db, settings.providers)
    suspended += breakers.suspended_pools(db, (pool.name for pool in settings.pools))
    if suspended:
        names = ", ".join(f"{one.name} ({one.last_error.text})" if one.last_error else one.name for one in suspended)
        return Finding(WARN, POOL_MANAGER, on_one_line(f"suspended after failures: {names}"), "vmpooler-tasks pools")
    found = f"{len(settings.pools)} pools on {', '.join(settings.providers)}"
    return Finding(OK, POOL_MANAGER, "; ".join(text for text in (found, watch.obstacle()) if text))


def try_all_servers(settings: Settings, db: Database) -> Iterator[Finding]:
    """Return the findings of providers and DNS plugins that can be loaded; that of the pool manager has the others."""
    if not settings.config.manage_pools:
        return
    try:
        orders = read_all_orders(settings, db)
    except VmpoolerTasksError:  # of Redis itself: other findings report it
        orders = {}
    for one in try_servers(settings, orders):
        what = "provider" if one.section == PROVIDERS else "DNS"
        if one.state in (TrialState.OK, TrialState.NOT_TRIED):
            yield Finding(OK, what, on_one_line(f"{one.name}: {one.success}"))
        elif one.state is not TrialState.NOT_LOADED:
            is_silent = one.state is TrialState.NO_REPLY
            fix = "check its address, the network and the firewall" if is_silent else f"fix it, then: {TRY_AGAIN}"
            yield from (Finding(FAIL, what, line, fix) for line in one.problems)


def check_metrics(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return whether the servers of StatsD and Graphite can be reached."""
    del db, earlier
    configured = servers(settings)
    if not configured:
        return Finding(OK, METRICS_SERVERS, "neither StatsD nor Graphite is configured")
    reached, problems = [], []
    for one in configured:
        try:
            reached.append(one.check())
        except (OSError, UnicodeError) as error:
            problems.append(f"{one.address}: {error}")
    if problems:
        fix = "check the server, the firewall, and the :statsd: or :graphite: section"
        return Finding(WARN, METRICS_SERVERS, on_one_line("; ".join(problems)), fix)
    return Finding(OK, METRICS_SERVERS, "; ".join(reached))


def check_notifications(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return how the last attempt to each target ended."""
    del earlier
    targets = settings.notify.targets
    if not targets:
        return Finding(OK, NOTIFICATIONS, "no target is configured (:notify:)")
    if not is_active(settings):
        switch_on = "set health_check_enabled: true"
        return Finding(WARN, NOTIFICATIONS, "nobody is notified: health checks are switched off", switch_on)
    last = read_last_attempts(db, [target.name for target in targets])
    now = db.clock()
    found = on_one_line("; ".join(f"{target.name}: {_attempt_text(last[target.name], now)}" for target in targets))
    if any(one.result not in (None, NotificationResult.DELIVERED) for one in last.values()):
        return Finding(WARN, NOTIFICATIONS, found, "fix the target, then test it: vmpooler-tasks doctor --notify")
    return Finding(OK, NOTIFICATIONS, found)


def _attempt_text(last: LastAttempt, now: float) -> str:
    waiting = f", {last.waiting} waiting" if last.waiting else ""
    if last.result is None or last.epoch is None:
        return f"nothing was sent so far{waiting}"
    why = f": {last.error}" if last.error else ""
    return f"{last.result} {age(now - last.epoch)} ago{why}{waiting}"


def send_tests(settings: Settings, db: Database) -> Iterator[Finding]:
    """Send a test to each target of `:notify:`, and yield how it ended."""
    if not settings.notify.targets:
        yield Finding(WARN, NOTIFICATIONS, "no test was sent: no target is configured", "add a :notify: section")
    status = read_report(db, settings, db.clock).assessment.status
    for target in settings.notify.targets:
        named = on_one_line(f"{target.name} ({target.type})")
        try:
            send_test(db, settings, target, status)
        except DeliveryError as error:
            yield Finding(FAIL, NOTIFICATIONS, f"no test reached {named}: {error}", "fix its entry in :notify:")
        else:
            yield Finding(OK, NOTIFICATIONS, f"{named} took a test")
