"""Destroys one completed VM. data-model.md: Completed."""

import logging
import time

from vmpooler_tasks.jobs.pools.context import PoolContext, stamp
from vmpooler_tasks.jobs.pools.provider_calls import destroy_vm
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.pools.retries import destroy_pause
from vmpooler_tasks.store.pools import destroys
from vmpooler_tasks.store.pools.destroys import Claim

_log = logging.getLogger("vmpooler_tasks.pools")


def run(manager: PoolContext, vm: str, pool_name: str, owner: str) -> str:
    """Destroys the VM, unless somebody else does or did; answers what came of it.

    A VM that the provider does not know is destroyed. Raises what the provider raised: the VM stays completed, and is
    tried again after a pause that grows.
    """
    pool, now, lease_seconds = manager.pool(pool_name), manager.clock(), manager.settings.config.lease_seconds
    outcome, fence, attempts = destroys.claim(
        manager.db,
        vm,
        pool_name,
        owner=owner,
        now=now,
        leased_until=now + lease_seconds,
        stamp=stamp(now),
        keep_seconds=manager.keep_seconds,
    )
    if outcome is not Claim.OK:
        return str(outcome)
    begun = time.perf_counter()
    with manager.keeper.holding(vm, fence):
        try:
            existed = destroy_vm(manager.provider_of(pool), manager.spec(pool), vm, manager.retries)
        except Exception as error:
            _log.error(
                "[!] [%s] '%s' failed while destroying the VM with an error: %s", pool_name, vm, on_one_line(str(error))
            )
            destroys.postpone(
                manager.db, vm, fence=fence, until=manager.clock() + destroy_pause(attempts, lease_seconds)
            )
            raise
    if not destroys.finish(manager.db, vm, pool_name, fence=fence):
        return "lost"
    if existed:
        _log.info("[-] [%s] '%s' destroyed in %.2f seconds", pool_name, vm, time.perf_counter() - begun)
    else:
        _log.info("[-] [%s] '%s' was not in the inventory: removed", pool_name, vm)
    return "destroyed"
