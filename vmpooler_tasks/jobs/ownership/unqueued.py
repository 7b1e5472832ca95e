"""VMs of an inventory that are in no queue of any pool."""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.store.guards import strays
from vmpooler_tasks.store.pools.views import PoolView

_log = logging.getLogger("vmpooler_tasks.pools")


def find_unqueued(
    context: PoolContext, pool: Pool, inventory: frozenset[bytes], *views: PoolView
) -> frozenset[bytes] | None:
    """Return the VMs of the inventory that no queue of any pool holds. `views`: the pool before and after it was read.

    Pools may share a folder: what is in a queue of another pool is that pool's. If a queue cannot be read, nobody knows
    what is in it: return None. No VM is a stray then.
    """
    candidates = inventory.difference(*(queue for view in views for queue in view.queues.values()))
    if not candidates:
        return frozenset()
    try:
        found = strays.find_unqueued(context.db, candidates, other_queues(context, pool))
    except WrongTypeError:
        found = None
    if found is None:
        _log.warning("[!] [%s] A queue of another pool cannot be read: no VM is taken for a stray", pool.name)
    return None if found is None else frozenset(found)


def other_queues(context: PoolContext, pool: Pool) -> list[bytes]:
    """Return the keys of the queues of all other pools. Raise WrongTypeError."""
    return strays.other_queues(context.db, pool.name, [one.name for one in context.settings.pools])
