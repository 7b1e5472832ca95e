"""The record of how a purge ended, for the health check and the audit."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs.purge.context import PurgeContext
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.model.purge import SkippedQueue
from vmpooler_tasks.store.purge import state

_log = logging.getLogger("vmpooler_tasks.purge")


def record_end(context: PurgeContext, options: PurgeOptions, now: float, failure: str | None) -> None:
    """Record that the purge ended `now`, and why it failed if it did."""
    try:
        state.record_end(
            context.db,
            span=(context.now, now) if options.is_whole_cycle else None,
            failure=failure,
            skipped_queues=_skipped_queues(context, options),
            trail=_trail(context, options, failure),
        )
    except VmpoolerTasksError as error:
        if failure is None:
            raise
        # The caller raises the cycle's own failure. Its start stays recorded without an end, which health reports.
        _log.error("[!] [purge] The failure could not be recorded: %s", error)


def _trail(context: PurgeContext, options: PurgeOptions, failure: str | None) -> Mapping[str, Any]:
    """Return the fields of the audit; those that are None are left out."""
    report = context.report
    return {
        "action": "purge",
        "who": options.who,
        "why": options.why,
        "count": report.total,
        "counts": ",".join(f"{target}={count}" for target, count in report.purged.items() if count) or None,
        "errors": report.error_count or None,
        "failure": failure,
        "forced": "true" if options.force else None,
        "dry_run": "true" if report.dry_run else None,
        "pools": ",".join(options.pools) or None,
        "queues": ",".join(options.queues) or None,
    }


def _skipped_queues(context: PurgeContext, options: PurgeOptions) -> Sequence[SkippedQueue]:
    """Return the queues that are skipped from now on: an earlier cycle's too, if this purge did not cover them."""
    skipped = context.report.skipped_queues
    if options.is_whole_cycle:
        return skipped

    def is_covered(queue: SkippedQueue) -> bool:
        is_pool_covered = not options.pools or queue.pool in options.pools
        return is_pool_covered and (not options.queues or queue.queue in options.queues)

    earlier = state.read(context.db).skipped_queues
    return [*(queue for queue in earlier if not is_covered(queue)), *skipped]
