"""The destruction of one completed VM. See docs/vmpooler-behaviour.md."""

import logging
import time

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext, stamp
from vmpooler_tasks.jobs.pools.failed_vm import log_replaced
from vmpooler_tasks.jobs.pools.provider_calls import DNS_SECONDS, call_within, destroy_vm
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.pools.results import DestroyClaim, DestroyResult
from vmpooler_tasks.model.pools.retries import destroy_pause
from vmpooler_tasks.store.pools import destroys
from vmpooler_tasks.store.pools.destroys import ClaimedDestroy

_log = logging.getLogger("vmpooler_tasks.pools")


def run(context: PoolContext, vm: str, pool_name: str, owner: str) -> DestroyResult:
    """Destroy a completed VM, unless another worker does. A VM that its provider does not have counts as destroyed.

    While the brake of the pool is engaged, such a VM stays completed: the provider may not show what it has.

    Its DNS record is deleted first, so that no name points to an address that another VM may get. If that fails, the VM
    is destroyed all the same.

    Raise the error of the provider, or of DNS. The VM then stays completed, and the rest is done after a pause that
    grows.
    """
    pool, lease_seconds = context.pool(pool_name), context.settings.config.lease_seconds
    claimed = _claim(context, vm, pool_name, owner)
    if claimed.claim is not DestroyClaim.CLAIMED:
        return DestroyResult(str(claimed.claim))
    started = time.perf_counter()
    with context.leases.holding(vm, claimed.fence):
        try:
            existed = _destroy(context, vm, pool, claimed)
        except Exception as error:
            text = "[!] [%s] '%s' failed while destroying the VM with an error: %s"
            _log.error(text, pool_name, vm, on_one_line(str(error)))
            pause = destroy_pause(claimed.attempts, lease_seconds)
            destroys.postpone(context.db, vm, fence=claimed.fence, now=context.clock(), pause=pause)
            raise
    result = _finish(context, vm, pool_name, claimed, existed=existed)
    if result is DestroyResult.DESTROYED and existed:
        _log.info("[-] [%s] '%s' destroyed in %.2f seconds", pool_name, vm, time.perf_counter() - started)
    elif result is DestroyResult.DESTROYED:
        _log.info("[-] [%s] '%s' does not exist in the provider: removed from completed", pool_name, vm)
    return result


def _destroy(context: PoolContext, vm: str, pool: Pool, claimed: ClaimedDestroy) -> bool:
    """Delete the DNS record and destroy the VM. Return False if the provider does not have the VM."""
    failure: Exception | None = None
    try:
        call_within(DNS_SECONDS, _delete_record, context, vm, pool, claimed)
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the VM is destroyed first
        failure = error
    existed = destroy_vm(context.provider_of(pool), context.spec(pool), vm, context.retries)
    if failure is not None:
        raise failure
    return existed


def _delete_record(context: PoolContext, vm: str, pool: Pool, claimed: ClaimedDestroy) -> None:
    context.dns.delete(pool, vm, fence=claimed.fence)


def _finish(context: PoolContext, vm: str, pool: str, claimed: ClaimedDestroy, *, existed: bool) -> DestroyResult:
    """Remove the VM from completed. One that did not exist stays there while the brake of its pool is engaged."""
    return destroys.finish(
        context.db,
        vm,
        pool,
        fence=claimed.fence,
        is_missing=claimed.is_first and not existed,
        now=context.clock(),
        pause=destroy_pause(claimed.attempts, context.settings.config.lease_seconds),
    )


def _claim(context: PoolContext, vm: str, pool: str, owner: str) -> ClaimedDestroy:
    """Claim the destruction for a lease. Log that an open request gets another VM, if this one was delivered to it."""
    now = context.clock()
    claimed = destroys.claim(
        context.db,
        vm,
        pool,
        owner=owner,
        now=now,
        leased_until=now + context.settings.config.lease_seconds,
        stamp=stamp(now),
        keep_seconds=context.keep_seconds,
    )
    if claimed.is_replaced:
        log_replaced(vm, pool)
    return claimed
