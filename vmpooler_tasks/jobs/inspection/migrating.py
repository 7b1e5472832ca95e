"""The VMs that VMPooler's API marked as migrating at their checkout."""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.store.pools.views import PoolView
from vmpooler_tasks.store.vmpooler import migrating

_log = logging.getLogger("vmpooler_tasks.pools")


def clear_migrating(context: PoolContext, pool: Pool, view: PoolView, inventory: frozenset[bytes] | None) -> None:
    """Empty the pool's migrating. A running VM stays in it until the inventory shows it, or until it is destroyed.

    No VM migrates here, so a VM that is only in migrating is in no queue: a stray, if its provider has it.
    """
    if not view.migrating:
        return
    if removed := migrating.clear(context.db, pool.name, inventory or frozenset()):
        _log.debug("[ ] [%s] %d VMs removed from 'migrating'", pool.name, removed)
