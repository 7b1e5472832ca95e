"""Cancel an on-demand request for an operator."""

import logging

from vmpooler_tasks.config import Settings
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.pools.lifecycle import HOUR
from vmpooler_tasks.model.requests import Cancellation, parse_requested
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.requests import cancellation, fulfilment

_log = logging.getLogger("vmpooler_tasks.ondemand")


def cancel(db: Database, settings: Settings, request_id: str, *, who: str, why: str | None) -> Cancellation:
    """Cancel an open request: no further clone starts for it, and the VMs that it got go to completed.

    The effect in Redis is that of VMPooler's `DELETE /ondemandvm/ID`, so that VMPooler's own manager follows it, too:
    without `manage_pools` it is that manager which removes the VMs that it is still cloning. A request that is ready
    stays: its user has the VMs.
    """
    settings.refuse_if_observing("cancelling a request")
    raw = request_id.encode(errors="surrogateescape")
    text = fulfilment.read_requested(db, raw)
    try:
        wanted = parse_requested(text or "")
    except ValueError:
        wanted = ()
    result = cancellation.cancel(
        db,
        raw,
        wanted,
        reason=f"cancelled by {who}" + (f": {why}" if why else ""),
        keep_seconds=settings.redis.data_ttl * HOUR,
        trail={"action": "cancel_request", "who": who, "why": why, "request": request_id, "requested": text},
    )
    if result.is_cancelled:
        name = on_one_line(request_id)
        _log.info("[*] Request '%s' was cancelled by %s", name, on_one_line(who), extra={"request": name})
    return result
