"""The orders of VMPooler's API for a pool: overrides of its template and clone target, resets."""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.names import Queue, on_one_line
from vmpooler_tasks.model.pools.results import TrialResult
from vmpooler_tasks.store.orders import overrides
from vmpooler_tasks.store.pools import breakers, views, vms
from vmpooler_tasks.store.pools.views import PoolView

_log = logging.getLogger("vmpooler_tasks.pools")


def carry_out_orders(context: PoolContext, pool: Pool, view: PoolView) -> PoolView:
    """Carry out the orders from the API. Return the pool as it is afterwards."""
    db, orders, name = context.db, view.orders, pool.name
    if orders.undo_size or orders.undo_template:
        overrides.undo(db, name, size=orders.undo_size, template=orders.undo_template)
        what = " and ".join(
            word for word, ordered in (("size", orders.undo_size), ("template", orders.undo_template)) if ordered
        )
        _log.info("[*] [%s] the override of its %s is removed", name, what)
    template = (None if orders.undo_template else orders.template) or pool.template
    changed = template and orders.known_template and template != orders.known_template
    if changed:
        _drain(context, name, f"template updated from {orders.known_template} to {template}")
    if template and template != orders.known_template:
        overrides.remember_template(db, name, template)
    is_moved = _remember_clone_target(context, pool, view)
    if changed or is_moved:
        _allow_trial(context, pool, view)
    if orders.reset:
        _drain(context, name, "reset")
        overrides.remove_reset(db, name)
    if changed or is_moved or orders.reset or orders.undo_size or orders.undo_template:
        return views.read_view(db, name, context.settings.provider_of(pool))
    return view


def _remember_clone_target(context: PoolContext, pool: Pool, view: PoolView) -> bool:
    """Record the clone target in effect. Return True if it is another than at the last inspection."""
    target = context.spec(pool, clone_target=view.orders.clone_target).clone_target or ""
    known = view.orders.known_clone_target
    if target != known:
        overrides.remember_clone_target(context.db, pool.name, target)
    return known is not None and target != known


def _allow_trial(context: PoolContext, pool: Pool, view: PoolView) -> None:
    """Let one clone try a suspended pool at once: what its clones failed with may be gone."""
    if view.suspended_until is None:
        return
    now = context.clock()
    if breakers.allow_trial(context.db, now=now, trail={}, pool=pool.name) is TrialResult.TRIAL:
        _log.info("[*] [%s] its template or clone target changed: one clone tries it now", pool.name)


def _drain(context: PoolContext, pool: str, why: str) -> None:
    count = sum(len(vms.complete_some(context.db, pool, queue)) for queue in (Queue.PENDING, Queue.READY))
    _log.info("[*] [%s] %s: %d pending and ready VMs moved to completed", pool, on_one_line(why), count)
