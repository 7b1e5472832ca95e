"""One purge cycle: every configured pool's pending, ready and completed, then orphaned metadata and stuck requests."""

import logging
import time

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.schema import shown
from vmpooler_tasks.errors import VmpoolerTasksError, WrongTypeError
from vmpooler_tasks.jobs.deadletters.retention import dead_letter_limits, trim_all
from vmpooler_tasks.jobs.purge.context import PurgeContext
from vmpooler_tasks.jobs.purge.options import PURGED_QUEUES, PurgeOptions, check
from vmpooler_tasks.jobs.purge.orphans import purge_orphans
from vmpooler_tasks.jobs.purge.queues import purge_queues
from vmpooler_tasks.jobs.purge.report import REQUESTS, PurgeReport, summary
from vmpooler_tasks.jobs.purge.report_thread import Scribe
from vmpooler_tasks.model.names import ORPHANED, readable
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.purge import batches
from vmpooler_tasks.store.purge.batches import PurgeLock, Spared
from vmpooler_tasks.store.requests import stuck as requests
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.purge")


def run(db: Database, settings: Settings, clock: Clock, order: PurgeOptions) -> PurgeReport:
    """Purges, or says what it would purge.

    A dry run that is asked for writes nothing at all; one that is configured (purge_dry_run) records when it ran, since
    it is the cycle. A cycle that is switched off, or while another runs, does nothing and says so in `skipped`. Raises
    InvalidInputError, or what made the cycle fail, after it was logged and recorded.
    """
    check(db, settings, order)
    report = PurgeReport(order.dry_run or settings.config.purge_dry_run, order.keep_entries)
    if not settings.config.purge_enabled and not order.force and not order.dry_run:
        return _skip(report, "purge is switched off (purge_enabled: false)")
    with Scribe(report) as scribe:
        cycle = PurgeContext(db, settings, clock(), report, scribe, PurgeLock(db), order.force)
        try:
            if order.dry_run:
                _walk(cycle, order)
            else:
                _walk_alone(cycle, order)
        except Exception as error:
            # Of any kind: a time limit or a mistake of ours makes the cycle fail as well, and health has to know.
            why = str(error) if isinstance(error, VmpoolerTasksError) else f"{type(error).__name__}: {error}"
            _log.error("[!] [purge] Failed during purge cycle: %s", why)
            if not order.dry_run:
                _record(cycle, order, clock(), why)
            raise
    return report


def _skip(report: PurgeReport, why: str) -> PurgeReport:
    report.skipped = why
    _log.warning("[*] [purge] Skipped purge cycle: %s", why)
    return report


def _walk_alone(cycle: PurgeContext, order: PurgeOptions) -> None:
    if not cycle.lock.acquire():
        _skip(cycle.report, f"another one is running ({cycle.lock.holder() or 'it has just ended'})")
        return
    try:
        if order.is_whole:
            batches.record_start(cycle.db, cycle.now)
        _walk(cycle, order)
        _record(cycle, order, cycle.now + cycle.report.duration_seconds, None)
    finally:
        cycle.lock.release()


def _walk(cycle: PurgeContext, order: PurgeOptions) -> None:
    begun = time.perf_counter()
    _log.info("[*] [purge] Starting stale queue entry purge cycle")
    registered = _registered_pools(cycle)
    pools = list(dict.fromkeys(order.pools)) or [pool.name for pool in cycle.settings.pools] or registered
    wanted = [queue for queue in PURGED_QUEUES if not order.queues or queue in order.queues]
    for queue in wanted:  # one after the other: what leaves ready is met in completed
        purge_queues(cycle, queue, pools)
    if _is_wanted(order, ORPHANED):
        walked = [keys.queue(queue, pool) for pool in pools for queue in wanted]
        purge_orphans(cycle, {*pools, *registered}, walked)
    if _is_wanted(order, REQUESTS):
        _fail_stuck_requests(cycle)
    limits = dead_letter_limits(cycle.settings)
    if limits and not cycle.dry_run:
        for trouble in trim_all(cycle.db, limits, cycle.now):
            cycle.report.error(trouble)
    cycle.scribe.finish()
    cycle.report.duration_seconds = time.perf_counter() - begun
    _log.info("%s", summary(cycle.report))


def _registered_pools(cycle: PurgeContext) -> list[str]:
    try:
        names, no_names = queues.registered_pools(cycle.db)
    except WrongTypeError as error:
        cycle.report.error(f"Error checking the list of pools: {error}")
        return []
    for raw in no_names:
        cycle.report.error(f"Error checking the list of pools: '{readable(raw)}' is not UTF-8")
    return names


def _is_wanted(order: PurgeOptions, what: str) -> bool:
    """Orphans and requests belong to no pool: whoever names pools means only these pools' queues."""
    return what in order.queues if order.queues else not order.pools


def _fail_stuck_requests(cycle: PurgeContext) -> None:
    before = cycle.now - cycle.settings.config.max_request_age
    stuck: dict[bytes, float] = {}
    for key in (keys.WAITING_REQUESTS, keys.PROCESSING_REQUESTS):
        try:
            stuck |= requests.older_than(cycle.db, key, before)
        except WrongTypeError as error:
            cycle.report.error(f"Error checking on-demand requests in '{readable(key)}': {error}")
    for request, since in stuck.items():
        try:
            _fail_request(cycle, request, since)
        except WrongTypeError as error:
            cycle.report.error(f"Error checking on-demand request '{readable(request)}': {error}")


def _fail_request(cycle: PurgeContext, request: bytes, since: float) -> None:
    most = cycle.settings.config.max_request_age
    reason = f"not filled within {shown(most)} seconds (max_request_age)"
    if cycle.dry_run:
        done = requests.is_open(cycle.db, request)
    else:
        done = requests.fail(cycle.db, request, reason, cycle.settings.redis.data_ttl * 3600)
    if done:
        cycle.report.found[REQUESTS] += 1
        cycle.report.purged[REQUESTS] += not cycle.dry_run
        cycle.report.entries_of(REQUESTS, "", [(request, cycle.now - since)], most)


def _record(cycle: PurgeContext, order: PurgeOptions, now: float, failure: str | None) -> None:
    report = cycle.report
    trail = {
        "action": "purge",
        "who": order.who,
        "why": order.why,
        "count": report.total,
        "counts": ",".join(f"{queue}={count}" for queue, count in report.purged.items() if count) or None,
        "errors": report.error_count or None,
        "failure": failure,
        "forced": "true" if order.force else None,
        "dry_run": "true" if report.dry_run else None,
        "pools": ",".join(order.pools) or None,
        "queues": ",".join(order.queues) or None,
    }
    try:
        batches.record_end(
            cycle.db,
            span=(cycle.now, now) if order.is_whole else None,
            failure=failure,
            spared=report.spared if order.is_whole else _still_spared(cycle, order),
            trail=trail,
        )
    except VmpoolerTasksError as error:
        if failure is None:
            raise
        # The cycle's own failure is the one to hear of. Its start stays recorded without an end, which health sees.
        _log.error("[!] [purge] The failure could not be recorded: %s", error)


def _still_spared(cycle: PurgeContext, order: PurgeOptions) -> list[Spared]:
    """What an earlier cycle left alone and this part of one did not look at, and what this one left alone."""

    def looked_at(pool: str, queue: str) -> bool:
        return (not order.pools or pool in order.pools) and (not order.queues or queue in order.queues)

    earlier = batches.read_state(cycle.db).spared
    return [*(spared for spared in earlier if not looked_at(*spared[:2])), *cycle.report.spared]
