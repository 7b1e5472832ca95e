"""The orders of VMPooler's API for a pool: overrides of its size, template and clone target, their undo, resets.

Sources: docs/vmpooler-behaviour.md, Orders of the API; `evaluate_template`, `update_clone_target`, `reset_pool` and
`undo_override` in VMPooler's `pool_manager.rb`.
"""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.names import Queue, on_one_line
from vmpooler_tasks.model.pools.results import TrialResult
from vmpooler_tasks.model.pools.sizes import size_in_effect
from vmpooler_tasks.store.orders import overrides
from vmpooler_tasks.store.orders.overrides import CloneTargetChange
from vmpooler_tasks.store.pools import breakers, views, vms
from vmpooler_tasks.store.pools.views import PoolView

_log = logging.getLogger("vmpooler_tasks.pools")


def carry_out_orders(context: PoolContext, pool: Pool, view: PoolView) -> PoolView:
    """Carry out the orders from the API. Return the pool as it is afterwards."""
    db, provider = context.db, context.settings.provider_of(pool)
    if view.orders.has_former_templates:
        count = overrides.adopt_former_templates(db)
        _log.info("[*] [pools] the templates in effect of %d pools are copied to vmpooler__template__prepared", count)
        view = views.read_view(db, pool.name, provider)
    is_new_template = _apply_template(context, pool, view)
    is_new_target = _apply_clone_target(context, pool, view)
    if is_new_template or is_new_target:
        _allow_trial(context, pool, view)
    was_undone, was_reset = _undo_size(context, pool, view), _reset(context, pool, view)
    if is_new_template or is_new_target or was_undone or was_reset:
        return views.read_view(db, pool.name, provider)
    return view


def _apply_template(context: PoolContext, pool: Pool, view: PoolView) -> bool:
    """Record the template in force. Drain the pool first if an override or its undo has changed it.

    An override may vanish a moment before the order to undo it is there: that counts as its undo. Return True if the
    pool had another template.
    """
    orders, name = view.orders, pool.name
    template, prepared = orders.template or pool.template or "", orders.prepared_template
    is_new = template != prepared
    is_changed = is_new and prepared is not None
    if is_changed and (orders.template or orders.undo_template or orders.applied_template == prepared):
        _drain(context, name, f"template updated from {prepared or 'none'} to {template or 'none'}")
    elif is_changed:
        text = "[*] [%s] its template in the configuration changed from %s to %s: its new VMs are made from it"
        _log.info(text, name, on_one_line(prepared or "none"), on_one_line(template or "none"))
    if is_new or orders.undo_template or (orders.applied_template or "") != (orders.template or ""):
        overrides.record_template(context.db, name, template, orders)
    return is_changed


def _apply_clone_target(context: PoolContext, pool: Pool, view: PoolView) -> bool:
    """Record the clone target in force. Drain the pool first if the API has set another one.

    Return True if the pool had another clone target.
    """
    orders, name = view.orders, pool.name
    known, target = orders.applied_clone_target, context.spec(pool, clone_target=orders.clone_target).clone_target or ""
    if target == known and orders.is_boot_known:
        return False
    change = overrides.observe_clone_target(context.db, name, target, is_override=bool(orders.clone_target))
    if change is CloneTargetChange.DRAIN:
        _drain(context, name, f"clone target updated from {known or 'none'} to {target}")
        overrides.record_clone_target(context.db, name, target)
    return change in (CloneTargetChange.DRAIN, CloneTargetChange.MOVED)


def _undo_size(context: PoolContext, pool: Pool, view: PoolView) -> bool:
    if not view.orders.undo_size:
        return False
    overrides.remove_undo_of_size(context.db, pool.name)
    size = size_in_effect(pool.size, view.orders.size)
    _log.info("[*] [%s] the override of its size is undone: its size is %d", pool.name, size)
    return True


def _reset(context: PoolContext, pool: Pool, view: PoolView) -> bool:
    """Drain the pool. An order that comes while it is drained is removed too, so what came since is drained as well."""
    if not view.orders.reset:
        return False
    _drain(context, pool.name, "reset")
    overrides.remove_reset(context.db, pool.name)
    _complete_unused(context, pool.name)
    return True


def _allow_trial(context: PoolContext, pool: Pool, view: PoolView) -> None:
    """Let one clone try a suspended pool at once: what its clones failed with may be gone."""
    if view.suspended_until is None:
        return
    now = context.clock()
    if breakers.allow_trial(context.db, now=now, trail={}, pool=pool.name) is TrialResult.TRIAL:
        _log.info("[*] [%s] its template or clone target changed: one clone tries it now", pool.name)


def _drain(context: PoolContext, pool: str, why: str) -> None:
    count = _complete_unused(context, pool)
    _log.info("[*] [%s] %s: %d pending and ready VMs moved to completed", pool, on_one_line(why), count)


def _complete_unused(context: PoolContext, pool: str) -> int:
    return sum(len(vms.complete_some(context.db, pool, queue)) for queue in (Queue.PENDING, Queue.READY))
