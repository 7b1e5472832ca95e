"""The read of a pool's inventory from its provider, guarded by the circuit breaker."""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import ProviderError, ProviderTimeoutError
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.jobs.pools.provider_calls import LIST_SECONDS, call_within
from vmpooler_tasks.model.health.reasons import error_line
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import CallKind
from vmpooler_tasks.store.pools.views import PoolView

_log = logging.getLogger("vmpooler_tasks.pools")

INSPECTION_LOCK_SECONDS = 60


def fetch_inventory(
    context: PoolContext, pool: Pool, view: PoolView
) -> tuple[frozenset[bytes] | None, ProviderError | None]:
    """Return (the provider's VMs, the error that prevented it). Count a failure or success for the breaker.

    (None, None) means that the provider is suspended or another worker tries it. A failed inventory is None, never
    empty.
    """
    name, now = context.settings.provider_of(pool), context.clock()
    if view.provider_suspended_until is not None and view.provider_suspended_until > now:
        return None, None
    if view.inventory_failed and not breakers.claim_inventory(
        context.db, name, now=now, until=now + INSPECTION_LOCK_SECONDS
    ):
        return None, None
    try:
        listed = call_within(LIST_SECONDS, context.provider_of(pool).list_vms, context.spec(pool))
        inventory = frozenset(vm.encode() for vm in listed)
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, the rest of the inspection goes on
        what = f"{type(error).__name__}: {error}"
        _log.error("[!] [%s] Its inventory could not be read: %s", pool.name, on_one_line(what))
        hung = isinstance(error, ProviderTimeoutError)
        breakers.count_failure(
            context.db,
            name,
            CallKind.INVENTORY,
            context.breaker_limits,
            now=context.clock(),
            error=error_line(str(error)),
            hung=hung,
        )
        return None, error if isinstance(error, ProviderError) else ProviderError(what)
    if view.inventory_failed:
        breakers.count_success(context.db, name, CallKind.INVENTORY, context.breaker_limits)
    return inventory, None
