"""The inspection of one pool, step by step.

See docs/vmpooler-behaviour.md. An inspection changes nothing in the provider. What has to be done there it returns as
work, for any worker.
"""

import time
from dataclasses import dataclass, field

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import InvalidInputError, ProviderError
from vmpooler_tasks.jobs.inspection.brake import Comparison, Unknowns, apply_brake
from vmpooler_tasks.jobs.inspection.checks import due_checks
from vmpooler_tasks.jobs.inspection.double_queues import repair_double_queues
from vmpooler_tasks.jobs.inspection.inventory import fetch_inventory
from vmpooler_tasks.jobs.inspection.migrating import clear_migrating
from vmpooler_tasks.jobs.inspection.orders import carry_out_orders
from vmpooler_tasks.jobs.inspection.pausing import keep_paused
from vmpooler_tasks.jobs.inspection.removed import inspect_removed, managed_pool
from vmpooler_tasks.jobs.inspection.replenish import end_untried_suspensions, recycle_expired, replenish
from vmpooler_tasks.jobs.inspection.roster import register
from vmpooler_tasks.jobs.inspection.strays import complete_discovered, discover
from vmpooler_tasks.jobs.ownership.foreign import report_foreign, withdraw_foreign
from vmpooler_tasks.jobs.ownership.marking import due_marks
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.model.health.explanation import error_line
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards import brakes, removed_pools
from vmpooler_tasks.store.guards.managed_pools import record_managed_pool
from vmpooler_tasks.store.health import progress
from vmpooler_tasks.store.pools import views, vms
from vmpooler_tasks.store.redis.locks import OwnedLock, held

SLOW_SECONDS, MAX_REST_SECONDS = 2.0, 30.0
"""An inspection that takes longer than the first, of a pool with very many VMs, is followed by a rest."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of an inspection: the work to hand out, and the provider's error that left a part of it undone.

    `busy`: another worker inspects the pool now, and nothing was done.
    """

    pool: str
    work: list[Work] = field(default_factory=list)
    error: ProviderError | None = None
    busy: bool = False


def inspect_pool(context: PoolContext, name: str) -> Inspection:
    """Inspect the pool, unless another worker does.

    If the provider fails, everything that does not need it is done. Raise InvalidInputError for a pool that is neither
    configured nor removed from the configuration.
    """
    pool = context.settings.pool(name)
    removed = None if pool else removed_pools.read_removed(context.db).get(name)
    if pool is None and removed is None:
        raise InvalidInputError(f"there is no pool {name!r} in {context.settings.source}")
    lock = OwnedLock(context.db, keys.check_lock(name), f"the inspection of '{name}'")
    with held(lock) as is_held:
        if not is_held:
            return Inspection(name, busy=True)
        started = time.monotonic()
        try:
            if pool:
                return _inspect_recorded(context, pool)
            return Inspection(name, *inspect_removed(context, name, removed)) if removed else Inspection(name)
        finally:
            if rest := rest_seconds(time.monotonic() - started):
                lock.release_after(rest)


def rest_seconds(seconds: float) -> float:
    """Return the seconds until the pool may be inspected again, after an inspection that took `seconds`.

    After a usual inspection they are 0. After a slow one they are as many as it took: the worker is free for the other
    pools.
    """
    return min(seconds, MAX_REST_SECONDS) if seconds > SLOW_SECONDS else 0.0


def _inspect_recorded(context: PoolContext, pool: Pool) -> Inspection:
    """Inspect a configured pool, and record how the inspection ended."""
    work = progress.inspections_of(pool.name)
    try:
        register(context, pool)
        inspection = _inspect(context, pool)
    except Exception as error:
        progress.record_error(context.db, work, error_line(str(error)))
        raise
    if inspection.error:
        progress.record_error(context.db, work, error_line(str(inspection.error)))
    else:
        progress.record_end(context.db, work, context.settings.config.check_loop_delay_min)
    return inspection


def _inspect(context: PoolContext, pool: Pool) -> Inspection:
    provider = context.settings.provider_of(pool)
    mark = brakes.start_inventory(context.db, pool.name)  # before anything is read: Redis may be emptied from here on
    view = carry_out_orders(context, pool, views.read_view(context.db, pool.name, provider))
    if view.pause:
        view = keep_paused(context, pool, view, view.pause)
    inventory, error = fetch_inventory(context, pool, view)
    inspection, unknowns = Inspection(pool.name, error=error), Unknowns()
    clear_migrating(context, pool, view, inventory.names if inventory else None)
    if inventory is not None:
        after = views.read_view(context.db, pool.name, provider)  # the inventory may have taken a while
        after = withdraw_foreign(context, pool, after, inventory)
        found = Comparison(mark=mark, before=view, after=after, inventory=inventory)
        view, unknowns = after, apply_brake(context, pool, found)
        if unknowns.foreign is not None:
            report_foreign(context, pool, unknowns.foreign)
        if _move_strays(context, pool, found, unknowns):
            view = views.read_view(context.db, pool.name, provider)
        # Not before the strays: they are judged by whether the pool was managed before.
        record_managed_pool(context.db, managed_pool(context, pool))
    if repair_double_queues(context, pool, view):  # before any destruction is handed out
        view = views.read_view(context.db, pool.name, provider)
    if inventory is not None or error is not None:  # otherwise the provider is suspended: no checks
        ready = vms.read_metadata_by_name(context.db, view.queues[Queue.READY])
        if inventory is not None:
            view = recycle_expired(context, pool, view, inventory.names, ready)
        inspection.work.extend(due_checks(context, pool, view, ready, unknowns.gone))
    inspection.work.extend(replenish(context, pool, view))
    if inventory is not None:
        end_untried_suspensions(context, pool, view)
        inspection.work.extend(due_marks(context, pool, view, inventory))
    return inspection


def _move_strays(context: PoolContext, pool: Pool, found: Comparison, unknowns: Unknowns) -> bool:
    """Move strays on, as far as the brake of the pool allows. Return True if that changed a queue."""
    completed = complete_discovered(context, pool, found.after.queues[Queue.DISCOVERED])
    return bool(discover(context, pool, found.mark, unknowns.strays) or completed)
