"""Looks at one running VM: has its user had it for long enough? data-model.md: Running check."""

import logging

from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.jobs.pools.guarded_calls import find_vm
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import age, is_past_lifetime, lifetime_hours
from vmpooler_tasks.store.pools import vms
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

GRACE_SECONDS = 60.0
"""For so long a running VM may have no checkout time: the API server moves a VM first, and says when after that."""


def check(manager: PoolContext, vm: str, pool_name: str) -> str:
    """Ends a VM that is past its lifetime, was never checked out, or is gone; answers what came of it.

    Raises ProviderError if the provider does not say, SuspendedError if it is not asked.
    """
    pool, raw, now = manager.pool(pool_name), vm.encode(), manager.clock()
    limits = manager.limits(pool)
    (fields,), (checkout,) = vms.metadata(manager.db, [raw]), vms.checkouts(manager.db, pool_name, [raw])
    fields = {**fields, "checkout": checkout or fields["checkout"]}
    if is_past_lifetime(fields, limits, now):
        return _complete(manager, vm, pool_name, f"reached end of TTL after {lifetime_hours(fields, limits):g} hours")
    if age(fields["checkout"], now) is None and _is_known_for_long(manager, vm, pool_name, now):
        return _complete(
            manager, vm, pool_name, "is listed as running, but has no checkouttime data. Removing from running"
        )
    if find_vm(manager, pool, vm) is None:
        return _complete(manager, vm, pool_name, "is no longer in inventory, removing from running")
    return "running"


def _is_known_for_long(manager: PoolContext, vm: str, pool: str, now: float) -> bool:
    (since,) = queues.first_seen(manager.db, Queue.RUNNING, pool, [vm.encode()], now=now).result()
    return since is not None and now - float(since) >= GRACE_SECONDS


def _complete(manager: PoolContext, vm: str, pool: str, why: str) -> str:
    if not vms.complete(manager.db, vm, pool, Queue.RUNNING):
        return "gone"
    _log.info("[!] [%s] '%s' %s", pool, vm, why)
    return "completed"
