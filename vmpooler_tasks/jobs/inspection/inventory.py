"""The read of a pool's inventory from its provider, guarded by the circuit breaker."""

import logging
from contextlib import AbstractContextManager, nullcontext

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import ProviderError, ProviderTimeoutError
from vmpooler_tasks.jobs.ownership.marks import PoolInventory
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.jobs.pools.provider_calls import LIST_SECONDS, call_within
from vmpooler_tasks.model.health.explanation import error_line
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import CallKind
from vmpooler_tasks.store.pools.views import PoolView
from vmpooler_tasks.store.redis.locks import LOCK_SECONDS, RENEWALS, repeated

_log = logging.getLogger("vmpooler_tasks.pools")

INVENTORY_CLAIM_SECONDS = LOCK_SECONDS
"""A process that is killed while it tries a provider that failed keeps the others waiting for this long."""


def fetch_inventory(
    context: PoolContext, pool: Pool, view: PoolView
) -> tuple[PoolInventory | None, ProviderError | None]:
    """Return (the provider's VMs, the error that prevented it). Count a failure or success for the breaker.

    (None, None) means that the provider is suspended or another worker tries it. A failed inventory is None, never
    empty.
    """
    name, now = context.settings.provider_of(pool), context.clock()
    if view.provider_suspended_until is not None and view.provider_suspended_until > now:
        return None, None
    if view.inventory_failed and not _claim(context, name):
        return None, None
    try:
        with _renewed_claim(context, name) if view.inventory_failed else nullcontext():
            listed = call_within(LIST_SECONDS, context.provider_of(pool).list_vms, context.spec(pool))
        inventory = PoolInventory.of(listed, context.settings.config.installation)
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, the rest of the inspection goes on
        what = f"{type(error).__name__}: {error}"
        _log.error("[!] [%s] Its inventory could not be read: %s", pool.name, on_one_line(what))
        hung = isinstance(error, ProviderTimeoutError)
        breakers.count_failure(
            context.db,
            name,
            CallKind.INVENTORY,
            context.breaker_limits(name),
            now=context.clock(),
            error=error_line(str(error)),
            hung=hung,
        )
        return None, error if isinstance(error, ProviderError) else ProviderError(what)
    if view.inventory_failed:
        breakers.count_success(context.db, name, CallKind.INVENTORY, context.breaker_limits(name))
    return inventory, None


def _claim(context: PoolContext, provider: str) -> bool:
    now = context.clock()
    return breakers.claim_inventory(context.db, provider, now=now, until=now + INVENTORY_CLAIM_SECONDS)


def _renewed_claim(context: PoolContext, provider: str) -> AbstractContextManager[None]:
    """Renew the claim until the end of the block: to read a large inventory may take longer than the claim."""

    def renew() -> None:
        breakers.renew_inventory_claim(context.db, provider, until=context.clock() + INVENTORY_CLAIM_SECONDS)

    return repeated(renew, INVENTORY_CLAIM_SECONDS / RENEWALS)
