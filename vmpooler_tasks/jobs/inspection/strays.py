"""Strays: VMs that the provider has and that are in no queue."""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.names import NameSet, Queue, on_one_line
from vmpooler_tasks.store.pools import vms
from vmpooler_tasks.store.pools.views import PoolView
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

DISCOVERY_SECONDS = 10.0
"""How long a VM may be in no queue: the API server removes it from ready before it adds it to running."""


def discover(context: PoolContext, pool: Pool, view: PoolView, inventory: set[bytes]) -> None:
    """Move strays to discovered. The next inspection moves them to completed.

    A stray is in the inventory and in no queue, in two inspections at least DISCOVERY_SECONDS apart.
    """
    for vm in vms.complete_some(context.db, pool.name, Queue.DISCOVERED):
        text, shown = "[!] [%s] '%s' was in no queue: moved from 'discovered' to 'completed'", on_one_line(vm)
        _log.info(text, pool.name, shown, extra={"vm": shown, "pool": pool.name})
    now = context.clock()
    strays = sorted(inventory.difference(*view.queues.values()))
    queues.forget_others(context.db, Queue.DISCOVERED, pool.name, NameSet(strays))
    for page in chunks(strays):
        known = queues.remember_first_seen(context.db, Queue.DISCOVERED, pool.name, page, now=now).read()
        old = [vm for vm, since in zip(page, known, strict=True) if since and now - since >= DISCOVERY_SECONDS]
        for vm in vms.discover(context.db, pool.name, old) if old else ():
            shown = on_one_line(vm)
            about = {"vm": shown, "pool": pool.name}
            _log.warning("[!] [%s] '%s' added to 'discovered' queue", pool.name, shown, extra=about)
