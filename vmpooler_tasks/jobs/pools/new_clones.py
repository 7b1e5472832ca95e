"""The start of clones, and what becomes of those whose worker died."""

import logging

from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.jobs.pools.context import PoolContext, Work, stamp
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store.pools import clones
from vmpooler_tasks.store.pools.breakers import MAX_PAUSES, end_impossible_suspensions

_log = logging.getLogger("vmpooler_tasks.pools")

SPARE_NAMES = 5
"""Names in addition to those that are needed, because some may be taken."""

PLANNED_LEASES = 5
"""Lease times that a clone or destruction may wait for a worker before it is sent again: queues may be long."""


def first_metadata(settings: Settings, pool: Pool, now: float) -> dict[str, str | bytes | None]:
    """Return the metadata of a VM whose clone starts now."""
    return {
        "clone": stamp(now),
        "template": pool.name,
        "pool": pool.name,
        "domain": settings.domain_of(pool),
    }


def planned_until(settings: Settings, now: float) -> float:
    """Return the epoch until which work that is handed out now waits for a worker."""
    return now + PLANNED_LEASES * settings.config.lease_seconds


def reap(context: PoolContext) -> list[Work]:
    """Take clones from dead workers. Return them as work, together with clones that no worker ever claimed.

    End what a wrong clock left behind: suspensions and waits that last longer than they can.
    """
    now, work = context.clock(), list[Work]()
    settings = context.settings
    longest_pause = MAX_PAUSES * settings.config.breaker_seconds
    pools = [pool.name for pool in settings.pools]
    end_impossible_suspensions(context.db, settings.providers, pools, now=now, longest_pause=longest_pause)
    until = planned_until(settings, now)
    latest = now + 2 * max(until - now, longest_pause)
    for slots, request_id in ((clones.slots_for(None), None), (clones.slots_for("request"), "request")):
        for vm, pool in clones.reap(context.db, slots, now=now, leased_until=until, latest=latest):
            about = {"vm": vm, "pool": pool}
            _log.warning("[!] [%s] '%s' is handed out again: the lease of its clone has expired", pool, vm, extra=about)
            work.append(Work(Step.CLONE, vm, pool, request_id))
    return work
