"""The purge of on-demand requests that nobody fulfils."""

from vmpooler_tasks.config.schema import as_yaml
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.purge.context import PurgeContext
from vmpooler_tasks.jobs.purge.entries import StaleEntry
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.requests import stuck


def fail_stuck_requests(context: PurgeContext) -> None:
    """Fail the requests that are older than max_request_age, or report them in a dry run."""
    before = context.now - context.settings.config.max_request_age
    found: dict[bytes, float] = {}
    for key in keys.OPEN_REQUESTS:
        try:
            found |= stuck.older_than(context.db, key, before)
        except WrongTypeError as error:
            context.report.add_error(f"Error checking on-demand requests in '{readable(key)}': {error}")
    for request, since in found.items():
        try:
            _fail_request(context, request, since)
        except WrongTypeError as error:
            context.report.add_error(f"Error checking on-demand request '{readable(request)}': {error}")


def _fail_request(context: PurgeContext, request: bytes, since: float) -> None:
    max_age = context.settings.config.max_request_age
    reason = f"not filled within {as_yaml(max_age)} seconds (max_request_age)"
    if context.dry_run:
        is_stuck = stuck.is_open(context.db, request)
    else:
        is_stuck = stuck.fail(context.db, request, reason, context.settings.redis.data_ttl * 3600)
    if is_stuck:
        context.report.found[PurgeTarget.REQUESTS] += 1
        context.report.purged[PurgeTarget.REQUESTS] += not context.dry_run
        entry = StaleEntry(request, b"", context.now - since)
        context.report.add_entries(PurgeTarget.REQUESTS, "", [entry], max_age)
