"""One purge cycle: every configured pool's pending, ready and completed, then orphaned metadata and stuck requests."""

import logging
import time

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import VmpoolerTasksError, WrongTypeError
from vmpooler_tasks.jobs.deadletters.retention import dead_letter_limits, trim_all
from vmpooler_tasks.jobs.purge.context import PurgeContext
from vmpooler_tasks.jobs.purge.options import PurgeOptions, validate
from vmpooler_tasks.jobs.purge.orphans import purge_orphans
from vmpooler_tasks.jobs.purge.queues import purge_queues
from vmpooler_tasks.jobs.purge.record import record_end
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.jobs.purge.report_thread import ReportThread
from vmpooler_tasks.jobs.purge.requests import fail_stuck_requests
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.model.purge import PURGED_QUEUES, PurgeTarget
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.purge import state
from vmpooler_tasks.store.purge.state import PurgeLock
from vmpooler_tasks.store.redis.locks import held
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.purge")


def run(db: Database, settings: Settings, clock: Clock, options: PurgeOptions) -> PurgeReport:
    """Run a purge, or report what it would purge.

    A dry run by `options` writes nothing at all. One by configuration (purge_dry_run) is the cycle, and so records when
    it ran. A purge that is switched off, or that runs elsewhere now, does nothing; the report says so in `skipped`.
    Raise InvalidInputError, or what made the cycle fail after it is logged and recorded.
    """
    validate(db, settings, options)
    report = PurgeReport(options.dry_run or settings.config.is_purge_dry, options.keep_entries)
    if not settings.config.purge_enabled and not options.force and not options.dry_run:
        return _skip(report, "purge is switched off (purge_enabled: false)")
    with ReportThread(report) as report_thread:
        context = PurgeContext(db, settings, clock(), report, report_thread, PurgeLock(db), options.force)
        try:
            if options.dry_run:
                _purge(context, options)
            else:
                _purge_under_lock(context, options)
        except Exception as error:
            # An error of any kind, a time limit included, makes the cycle fail. The health check has to know of it.
            why = str(error) if isinstance(error, VmpoolerTasksError) else f"{type(error).__name__}: {error}"
            _log.error("[!] [purge] Failed during purge cycle: %s", why)
            if not options.dry_run:
                record_end(context, options, clock(), why)
            raise
    return report


def _skip(report: PurgeReport, why: str) -> PurgeReport:
    report.skipped = why
    _log.warning("[*] [purge] Skipped purge cycle: %s", why)
    return report


def _purge_under_lock(context: PurgeContext, options: PurgeOptions) -> None:
    with held(context.lock) as is_held:
        if not is_held:
            _skip(context.report, f"another one is running ({context.lock.holder() or 'it has just ended'})")
            return
        if options.is_whole_cycle:
            state.record_start(context.db, context.now)
        _purge(context, options)
        record_end(context, options, context.now + context.report.duration_seconds, None)


def _purge(context: PurgeContext, options: PurgeOptions) -> None:
    started = time.perf_counter()
    _log.info("[*] [purge] Starting stale queue entry purge cycle")
    registered = _registered_pools(context)
    pools = list(dict.fromkeys(options.pools)) or [pool.name for pool in context.settings.pools] or registered
    covered = [queue for queue in PURGED_QUEUES if options.covers(PurgeTarget(queue.value))]
    for queue in covered:
        purge_queues(context, queue, pools)
    if options.covers(PurgeTarget.ORPHANED):
        read_queues = [keys.queue(queue, pool) for pool in pools for queue in covered]
        purge_orphans(context, {*pools, *registered}, read_queues)
    if options.covers(PurgeTarget.REQUESTS):
        fail_stuck_requests(context)
    _trim_dead_letters(context)
    context.report_thread.finish()
    context.report.duration_seconds = time.perf_counter() - started
    _log.info("%s", context.report.summary())


def _registered_pools(context: PurgeContext) -> list[str]:
    """Return the pools that a VMPooler has registered. What cannot be read of them is reported."""
    try:
        names, unreadable = queues.registered_pools(context.db)
    except WrongTypeError as error:
        context.report.add_error(f"Error checking the list of pools: {error}")
        return []
    for raw in unreadable:
        context.report.add_error(f"Error checking the list of pools: '{readable(raw)}' is not UTF-8")
    return names


def _trim_dead_letters(context: PurgeContext) -> None:
    limits = dead_letter_limits(context.settings)
    if limits and not context.dry_run:
        for problem in trim_all(context.db, limits, context.now):
            context.report.add_error(problem)
