"""The checks of `vmpooler-tasks doctor`: what was found, and what to do."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from vmpooler_tasks.cli.shared.lazy import LazyModule
from vmpooler_tasks.cli.shared.output import age
from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.redis_address import without_login
from vmpooler_tasks.errors import ConfigurationError, DeliveryError, VmpoolerTasksError, WrongTypeError
from vmpooler_tasks.jobs.health.changes import read_watched
from vmpooler_tasks.jobs.health.double_queues import find_all_double_queued
from vmpooler_tasks.jobs.health.read import read_report
from vmpooler_tasks.jobs.health.server import Finding, FindingState, check_server, refused_write, remedy
from vmpooler_tasks.jobs.health.work_facts import ORDERS_WAIT_SECONDS
from vmpooler_tasks.jobs.inspection.roster import find_removed
from vmpooler_tasks.jobs.notifications.notifier import is_active
from vmpooler_tasks.jobs.notifications.send import send_test
from vmpooler_tasks.jobs.online.trial import TrialState
from vmpooler_tasks.jobs.online.trials import PROVIDERS, read_all_orders, try_servers
from vmpooler_tasks.metrics.push import servers
from vmpooler_tasks.model.health.assessment import OVERDUE_INTERVALS, foreign_reasons, recycled_reasons
from vmpooler_tasks.model.health.fleet_reasons import clock_reasons
from vmpooler_tasks.model.health.reasons import ReasonCode, explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import listed, on_one_line, readable, shell_word
from vmpooler_tasks.model.notifications.message import NotificationResult
from vmpooler_tasks.model.remote_control import permitted_commands
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.guards.brakes import read_brakes
from vmpooler_tasks.store.guards.managed_pools import read_managed_names
from vmpooler_tasks.store.guards.unconfigured import read_unconfigured
from vmpooler_tasks.store.key_types import typed_keys
from vmpooler_tasks.store.notifications.state import LastAttempt, read_last_attempts
from vmpooler_tasks.store.orders import vm_orders
from vmpooler_tasks.store.pools import breakers, other_manager
from vmpooler_tasks.store.purge import state as purge_state
from vmpooler_tasks.store.redis import server
from vmpooler_tasks.store.redis.wrong_keys import find_own_wrong_keys, find_wrong_keys, read_set_aside
from vmpooler_tasks.store.vmpooler.queues import pool_names
from vmpooler_tasks.tasks.pool_context import try_providers
from vmpooler_tasks.tasks.registry import QUEUES

if TYPE_CHECKING:
    from vmpooler_tasks.tasks import enqueue as client
else:
    client = LazyModule("vmpooler_tasks.tasks.enqueue")  # Celery is slow to import

REDIS = "Redis"
"""The name of the finding that all others depend on."""

KEYS = "keys"
REMOVED_POOL = "removed pool"
POOL_MANAGER = "pool manager"
USER_ORDERS = "orders"
QUEUES_OF_POOLS = "queues"
POOL_BRAKES = "brakes"
METRICS_SERVERS = "metrics"
NOTIFICATIONS = "notifications"
WORKERS, BEAT, CLOCKS = "workers", "beat", "clocks"
LAST_PURGE, HEALTH = "last purge", "health"

ADDRESS = "REDIS_URL or the :redis: section"
OK, WARN, FAIL = FindingState.OK, FindingState.WARN, FindingState.FAIL

MAX_VMS_SHOWN = 10
"""VMs in the same two queues that a finding names."""

CONFIRM = "vmpooler-tasks pools confirm POOL"
TRY_AGAIN = "vmpooler-tasks config check --online"
SHOW_HEALTH = "vmpooler-tasks health --no-check"

Findings = dict[str, Finding]
"""The findings so far, by name."""


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
    yield from _wrong_keys(settings, db)
    yield from _removed_pools(settings, db)
    yield from _double_queued(settings, db)
    yield from _watched_pools(settings, db)
    earlier: Findings = {}
    for name, check in _CHECKS.items():
        try:
            earlier[name] = check(settings, db, earlier)
        except VmpoolerTasksError as error:
            named_by = "CELERY_BROKER_URL" if name in ("broker", WORKERS) and settings.broker_url else ADDRESS
            earlier[name] = Finding(FAIL, name, str(error), remedy(error, named_by))
        yield earlier[name]
        if name == POOL_MANAGER:
            yield from _servers(settings, db)


def _broker(settings: Settings, db: Database, earlier: Findings) -> Finding:
    del db, earlier
    address = without_login(settings.broker_location)
    if settings.broker_url is None:
        return Finding(OK, "broker", f"the same Redis ({address})")
    Database(settings.broker_location).call("PING")
    return Finding(OK, "broker", f"{address} replies")


def _own_broker(settings: Settings) -> Database | None:
    """Return the Redis with Celery's messages, if it is another one."""
    return Database(settings.broker_location) if settings.broker_url else None


def _workers(settings: Settings, db: Database, earlier: Findings) -> Finding:
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


def _beats(settings: Settings, db: Database, earlier: Findings) -> Finding:
    del settings, earlier
    beats = [beat.name for beat in heartbeats.read_fleet(db).beats]
    if not beats:
        start = "start one: celery -A vmpooler_tasks beat"
        return Finding(FAIL, BEAT, "no beat is running: nothing is scheduled", start)
    return Finding(OK, BEAT, f"{len(beats)}: {', '.join(beats)}")


def _wrong_keys(settings: Settings, db: Database) -> Iterator[Finding]:
    """Return a finding for each key of the wrong type, and for each of ours that was set aside within a day."""
    pools = [pool.name for pool in settings.pools]
    with suppress(WrongTypeError):
        pools = pools or pool_names(db)
    with suppress(VmpoolerTasksError):  # of Redis itself: every later check reports it
        found = find_wrong_keys(db, typed_keys(pools, settings.providers))
        known = {wrong.key for wrong in found}
        for wrong in (*found, *(wrong for wrong in find_own_wrong_keys(db) if wrong.key not in known)):
            rename = f'redis-cli -u "$REDIS_URL" RENAME {shell_word(readable(wrong.key))} NEW_NAME'
            yield Finding(FAIL, KEYS, on_one_line(str(wrong)), f"find out which program wrote it, then: {rename}")
        for one in read_set_aside(db):
            since = age(db.clock() - one.at)
            was = f"{readable(one.key)} was {one.mismatch}, {since} ago: work goes on with a new key"
            remedy_text = f"find out which program wrote it; it is kept for a day as {readable(one.copy)}"
            yield Finding(WARN, KEYS, on_one_line(was), on_one_line(remedy_text))


def _removed_pools(settings: Settings, db: Database) -> Iterator[Finding]:
    """Return a finding for each pool with VMs that left the configuration."""
    with suppress(VmpoolerTasksError):  # of Redis itself: every later check reports it
        for state in find_removed(db, settings):
            name = on_one_line(state.name)
            found = f"{name} is in no configuration, {state.counts_text}: {state.fate(settings.drain_rules)}"
            keep = (
                f", or keep it: vmpooler-tasks pools keep {shell_word(state.name)}"
                if settings.config.manage_pools
                else ""
            )
            yield Finding(WARN, REMOVED_POOL, found, f"put it back{keep}")


def _double_queued(settings: Settings, db: Database) -> Iterator[Finding]:
    """Return a finding for the VMs in each two queues of the pools that are configured, registered or recorded."""
    is_repaired = "the next inspection of the pool repairs it"
    fix = is_repaired if settings.config.manage_pools else "see the runbook of vm_in_two_queues"
    with suppress(VmpoolerTasksError):  # of Redis itself, or a key of the wrong type: other findings report it
        pools = {*(pool.name for pool in settings.pools), *pool_names(db), *read_managed_names(db)}
        for group in find_all_double_queued(db, sorted(pools)):
            vms = listed(group.vms, MAX_VMS_SHOWN)
            found = f"{len(group.vms)} VMs are in {' and '.join(group.queues)} at once: {vms}"
            yield Finding(FAIL, QUEUES_OF_POOLS, on_one_line(found), fix)


def _watched_pools(settings: Settings, db: Database) -> Iterator[Finding]:
    """Return a finding for each pool whose ready VMs are replaced again and again, or that has foreign VMs."""
    with suppress(VmpoolerTasksError):  # of Redis itself or of the broker: every later check reports it
        now = db.clock()
        watched = read_watched(db, settings, now, _own_broker(settings))
        for reason in recycled_reasons(watched.recycled):
            yield Finding(WARN, "recycled pool", *explain(reason, now))
        for reason in foreign_reasons(watched.foreign):
            yield Finding(WARN, "foreign VMs", *explain(reason, now))
        for one in read_unconfigured(db).values() if settings.config.manage_pools else ():
            yield Finding(WARN, "VMs of no pool", on_one_line(one.text), one.remedy)


def _clocks(settings: Settings, db: Database, earlier: Findings) -> Finding:
    del settings, earlier
    fleet = heartbeats.read_fleet(db)
    wrong = [explain(reason) for reason in clock_reasons(fleet)]
    if wrong:
        return Finding(FAIL, CLOCKS, "; ".join(found for found, _ in wrong), "run NTP on all machines")
    hosts = sorted({process.host for process in fleet.live})
    if not hosts:
        return Finding(OK, CLOCKS, "no worker or beat is alive whose clock could be compared")
    return Finding(OK, CLOCKS, f"at most a second from the clock of Redis: {on_one_line(', '.join(hosts))}")


def _pool_manager(settings: Settings, db: Database, earlier: Findings) -> Finding:
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


def _servers(settings: Settings, db: Database) -> Iterator[Finding]:
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


def _orders(settings: Settings, db: Database, earlier: Findings) -> Finding:
    del earlier
    waiting = vm_orders.read_waiting_since(db, db.clock())
    if not waiting:
        return Finding(OK, USER_ORDERS, "no order of a user for a VM waits")
    found = ", ".join(f"{one.count} in {readable(one.key)} for {age(one.seconds)}" for one in waiting)
    if max(one.seconds for one in waiting) <= ORDERS_WAIT_SECONDS:
        return Finding(OK, USER_ORDERS, found)
    who = (
        "workers for vmpooler.clone and vmpooler.maintenance" if settings.config.manage_pools else "VMPooler's manager"
    )
    return Finding(WARN, USER_ORDERS, f"{found}: nobody carries them out", f"start {who}; see {SHOW_HEALTH}")


def _brakes(settings: Settings, db: Database, earlier: Findings) -> Finding:
    del earlier
    if not settings.config.manage_pools:
        return Finding(OK, POOL_BRAKES, "switched off (manage_pools)")
    engaged = [one for _, one in sorted(read_brakes(db).items()) if one.is_engaged]
    if not engaged:
        return Finding(OK, POOL_BRAKES, "none is engaged")
    found = "; ".join(f"{one.pool}: {one.counts_text}" for one in engaged)
    return Finding(WARN, POOL_BRAKES, on_one_line(f"engaged for {found}"), f"see the cause first, then {CONFIRM}")


def _remedy_for_missing_cycle(earlier: Findings) -> str:
    """Return what to do about a cycle that did not run, depending on the processes that were found."""
    missing = [name for name in (WORKERS, BEAT) if earlier[name].state is not OK]
    if not missing:
        return "a worker and beat are running: it runs with beat's next tick; if not, see the worker's log"
    return f"first fix {' and '.join(missing)}, above"


def _last_purge(settings: Settings, db: Database, earlier: Findings) -> Finding:
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


def _last_health(settings: Settings, db: Database, earlier: Findings) -> Finding:
    if not settings.config.health_check_enabled:
        return Finding(OK, HEALTH, "health checks are switched off (health_check_enabled)")
    report = read_report(db, settings, db.clock, _own_broker(settings))
    codes = sorted({reason.code for reason in report.assessment.reasons})
    when = f"at {report.last_check}" if report.last_check else "(never checked)"
    found = f"{report.assessment.status} {when}" + (f": {', '.join(codes)}" if codes else "")
    state = _STATE_OF[report.assessment.status]
    if state is OK:
        return Finding(state, HEALTH, found)
    is_missing = ReasonCode.STALE in codes
    return Finding(state, HEALTH, found, _remedy_for_missing_cycle(earlier) if is_missing else f"see {SHOW_HEALTH}")


def _metrics(settings: Settings, db: Database, earlier: Findings) -> Finding:
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


def _notifications(settings: Settings, db: Database, earlier: Findings) -> Finding:
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


_CHECKS: dict[str, Callable[[Settings, Database, Findings], Finding]] = {
    "broker": _broker,
    WORKERS: _workers,
    BEAT: _beats,
    CLOCKS: _clocks,
    POOL_MANAGER: _pool_manager,
    USER_ORDERS: _orders,
    POOL_BRAKES: _brakes,
    LAST_PURGE: _last_purge,
    HEALTH: _last_health,
    METRICS_SERVERS: _metrics,
    NOTIFICATIONS: _notifications,
}
