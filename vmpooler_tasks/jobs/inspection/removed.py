"""Pools that left the configuration, or were renamed: their VMs are drained after a grace, a part at each inspection.

See docs/pools.md, "A pool that left the configuration".
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import ProviderError
from vmpooler_tasks.jobs.inspection.brake import Comparison, apply_brake
from vmpooler_tasks.jobs.inspection.checks import due_checks
from vmpooler_tasks.jobs.inspection.double_queues import repair_double_queues
from vmpooler_tasks.jobs.inspection.inventory import fetch_inventory
from vmpooler_tasks.jobs.inspection.migrating import clear_migrating
from vmpooler_tasks.jobs.inspection.roster import RESTART_SECONDS, forget_empty
from vmpooler_tasks.jobs.inspection.strays import discover
from vmpooler_tasks.jobs.ownership.foreign import withdraw_foreign
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.model.guards.managed import ManagedPool, RemovedPool
from vmpooler_tasks.model.names import Queue, on_one_line
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.dns import records
from vmpooler_tasks.store.fleet.heartbeats import read_fleet_with_pools
from vmpooler_tasks.store.guards import brakes, removed_pools
from vmpooler_tasks.store.pools import clones, views
from vmpooler_tasks.store.pools.views import PoolView
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

DRAINED_QUEUES = (Queue.PENDING, Queue.READY, Queue.DISCOVERED)
"""The queues that a drain empties. Running VMs stay until the end of their lifetime."""


def managed_pool(context: PoolContext, pool: Pool) -> ManagedPool:
    """Return the record of a configured pool."""
    return ManagedPool(
        name=pool.name,
        provider=context.settings.provider_of(pool),
        size=pool.size,
        template=pool.template,
        clone_target=context.spec(pool).clone_target,
        entry=pool.as_written(),
        since=context.clock(),
    )


def inspect_removed(context: PoolContext, name: str, removed: RemovedPool) -> tuple[list[Work], ProviderError | None]:
    """Drain the pool a little further if its grace is over. Return the work, and the provider's error, if it failed.

    Nothing is drained without an inventory, or while the brake of the pool is engaged. Clones that no worker has
    started are taken back before the grace is over: nothing exists of them, and they hold slots. VMs that are gone and
    have left a DNS record are drained, too: their destruction deletes the record.
    """
    seconds = context.db.clock() - removed.since
    if seconds >= RESTART_SECONDS:
        _take_back_clones(context, name)
    if removed.kept or seconds < context.settings.config.removed_pool_grace or _is_configured(context, name):
        return [], None
    pool = context.removed_pool(name)
    if pool is None:
        return [], None  # its provider is not known here: health names it
    mark = brakes.start_inventory(context.db, name)
    view = views.read_view(context.db, name, context.settings.provider_of(pool))
    if repair_double_queues(context, pool, view):  # before a drain completes a VM that another pool has
        view = views.read_view(context.db, name, context.settings.provider_of(pool))
    inventory, error = fetch_inventory(context, pool, view)
    if inventory is None:
        return [], error  # the provider fails or is suspended: nobody knows what is there
    clear_migrating(context, pool, view, inventory.names)
    after = views.read_view(context.db, name, context.settings.provider_of(pool))
    after = withdraw_foreign(context, pool, after, inventory)
    found = Comparison(mark=mark, before=view, after=after, inventory=inventory)
    unknowns = apply_brake(context, pool, found, is_removed=True)
    stale = [vm for vm in unknowns.strays if vm not in inventory.names]
    discover(context, pool, mark, stale)
    max_percent = context.settings.config.destroy_max_percent
    limit = 0 if brakes.is_engaged(context.db, name) else drain_limit(after, max_percent)
    moved = _drain(context, name, limit)
    after = views.read_view(context.db, name, context.settings.provider_of(pool))
    due = list(_due(context, pool, after, unknowns.gone, limit - len(moved)))
    if unknowns.foreign is not None and not any(after.queues.values()):  # it is known which VMs are gone
        _forget_with_notes(context, name, stale)
    return due, None


def _forget_with_notes(context: PoolContext, name: str, stale: Sequence[bytes]) -> None:
    """Forget a pool that only notes of DNS records hold whose VMs exist, or that nobody can delete.

    Such a VM is an unconfigured one from now on: its destruction deletes its record. The next tick forgets a pool
    without notes.
    """
    if noted := records.read_names(context.db, name):
        forget_empty(context.db, name, max_notes=len(noted.difference(stale)))


def drain_limit(view: PoolView, percent: float) -> int:
    """Return how many VMs one inspection may complete: the share that does not engage the brake, and at least two."""
    known = len(frozenset[bytes]().union(*view.queues.values()))
    return max(2, int(known * percent / 100))


def _due(context: PoolContext, pool: Pool, view: PoolView, gone: frozenset[bytes], limit: int) -> Iterator[Work]:
    """Yield the destructions that are due, and so many checks of running VMs: gone or past their lifetime."""
    left = {queue: frozenset[bytes]() if queue in DRAINED_QUEUES else vms for queue, vms in view.queues.items()}
    due = list(due_checks(context, pool, replace(view, queues=left), {}, gone))
    yield from [one for one in due if one.step is Step.CHECK_RUNNING][: max(limit, 0)]
    yield from [one for one in due if one.step is Step.DESTROY]


def _is_configured(context: PoolContext, name: str) -> bool:
    """Return True if a live process has the pool in its configuration, or if that is not known."""
    fleet = read_fleet_with_pools(context.db)
    return not fleet.knows_all_pools or not fleet.live or name in fleet.pools


def _take_back_clones(context: PoolContext, name: str) -> None:
    pages = queues.read_names(context.db, keys.queue(Queue.PENDING, name))
    pending = sorted({vm for page in pages for vm in page})
    taken = clones.take_back(context.db, name, pending, now=context.clock(), stopped=keys.REMOVED_POOLS)
    if taken:
        _log.info("[*] [%s] is in no configuration: %d clones that had not started are taken back", name, len(taken))


def _drain(context: PoolContext, name: str, limit: int) -> list[str]:
    moved: list[str] = []
    for queue in DRAINED_QUEUES:
        moved += removed_pools.drain(context.db, name, queue, limit - len(moved))
    for vm in moved:
        shown = on_one_line(vm)
        about = {"vm": shown, "pool": name}
        _log.info("[!] [%s] '%s' moved to completed: its pool is in no configuration", name, shown, extra=about)
    return moved
