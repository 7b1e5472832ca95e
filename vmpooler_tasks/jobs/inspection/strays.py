"""Strays: VMs with the mark of this installation that the provider has, and that are in no queue of any pool."""

import logging
from collections.abc import Sequence

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.ownership.unqueued import other_queues
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.names import NameSet, Queue, on_one_line
from vmpooler_tasks.store.guards import strays
from vmpooler_tasks.store.guards.strays import Discovery
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

DISCOVERY_SECONDS = 10.0
"""How long a VM may be in no queue: the API server removes it from ready before it adds it to running."""


def discover(context: PoolContext, pool: Pool, mark: str, found: Sequence[bytes]) -> list[str]:
    """Move strays to discovered. The next inspection moves them to completed. Return those that were moved.

    A stray is moved once it has been one in two inspections at least DISCOVERY_SECONDS apart. The brake of the pool may
    hold it. `mark` is that of the inventory.
    """
    now, discovered = context.clock(), list[str]()
    queues.forget_others(context.db, Queue.DISCOVERED, pool.name, NameSet(found))
    old: list[bytes] = []
    for page in chunks(found):
        known = queues.remember_first_seen(context.db, Queue.DISCOVERED, pool.name, page, now=now).read()
        old += [vm for vm, since in zip(page, known, strict=True) if since and now - since >= DISCOVERY_SECONDS]
    if old:
        step = Discovery(
            pool=pool.name, mark=mark, seen_before=now - DISCOVERY_SECONDS, others=other_queues(context, pool)
        )
        discovered = strays.discover(context.db, step, old)
    for vm in discovered:
        shown = on_one_line(vm)
        about = {"vm": shown, "pool": pool.name}
        _log.warning("[!] [%s] '%s' added to 'discovered' queue", pool.name, shown, extra=about)
    return discovered


def complete_discovered(context: PoolContext, pool: Pool, found: frozenset[bytes]) -> list[str]:
    """Move the VMs that an earlier inspection discovered to completed, unless the brake holds them. Return them."""
    moved = strays.complete_discovered(context.db, pool.name, sorted(found))
    for vm in moved:
        text, shown = "[!] [%s] '%s' was in no queue: moved from 'discovered' to 'completed'", on_one_line(vm)
        _log.info(text, pool.name, shown, extra={"vm": shown, "pool": pool.name})
    return moved
