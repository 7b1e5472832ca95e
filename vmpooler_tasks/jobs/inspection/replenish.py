"""The clones that a pool lacks, and the ready VMs that it has too many of, or had for too long."""

import logging
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import islice

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.jobs.pools.new_clones import SPARE_NAMES, first_metadata, planned_until
from vmpooler_tasks.model.health.recycling import SHORT_TTL_SECONDS
from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.pools.lifecycle import MINUTE, Fields, Step, has_expired, ready_age
from vmpooler_tasks.model.pools.sizes import size_in_effect
from vmpooler_tasks.model.pools.vm_names import candidates
from vmpooler_tasks.store.pools import breakers, clones, views, vms
from vmpooler_tasks.store.pools.views import PoolView

_log = logging.getLogger("vmpooler_tasks.pools")

MAX_CLONES = 200
"""Clones that one inspection starts; the next one starts more."""


def replenish(context: PoolContext, pool: Pool, view: PoolView) -> Iterator[Work]:
    """Complete ready VMs above the pool's size, and start the clones that it lacks."""
    size, config, now = size_in_effect(pool.size, view.orders.size), context.settings.config, context.clock()
    excess = vms.complete_some(context.db, pool.name, Queue.READY, keep=size)
    if excess:
        _log.info("[*] [%s] %d ready VMs above its size of %d moved to completed", pool.name, len(excess), size)
    ready, pending = len(view.queues[Queue.READY]), len(view.queues[Queue.PENDING])
    suspensions = (view.provider_suspended_until, view.suspended_until)
    if view.pause or any(until is not None and until > now for until in suspensions):
        _flag_empty(context, pool, ready, size)
        return
    # After failures one clone at a time may try whether their cause is gone.
    target = size if view.suspended_until is None else min(size, ready + max(1, pending))
    count = min(max(0, target - ready - pending) + SPARE_NAMES, MAX_CLONES)
    started = clones.start(
        context.db,
        pool.name,
        list(islice(candidates(config.prefix), count)),
        size=target,
        max_clones=config.task_limit,
        now=now,
        leased_until=planned_until(context.settings, now),
        metadata=first_metadata(context.settings, pool, now),
    )
    _flag_empty(context, pool, started.ready, size)
    for vm in started.vms:
        yield Work(Step.CLONE, vm, pool.name)


def end_untried_suspensions(context: PoolContext, pool: Pool, view: PoolView) -> None:
    """End a suspension that was over a while ago if the pool needs no clone: nothing else would try it."""
    if view.provider_suspended_until is None and view.suspended_until is None:
        return
    size = size_in_effect(pool.size, view.orders.size)
    if view.pause or len(view.queues[Queue.READY]) >= size:
        provider, seconds = context.settings.provider_of(pool), context.settings.config.breaker_seconds
        if breakers.end_untried(context.db, provider, pool.name, now=context.clock(), trial_seconds=seconds):
            _log.info("[*] [%s] A suspension has ended: no clone is needed, and the provider responds", pool.name)


def recycle_expired(
    context: PoolContext, pool: Pool, view: PoolView, inventory: AbstractSet[bytes], known: Mapping[bytes, Fields]
) -> PoolView:
    """Move ready VMs beyond `ready_ttl` to completed, as many as are soon replaced. Return the pool without them.

    A pool that gets no clones keeps them: an old VM is better than none. After a suspension one VM at a time makes room
    for the clone that tries it. What the inventory lacks is not touched here: the brake decides about it. `known`: the
    metadata of the VMs in ready.
    """
    ready, now, limits = view.queues[Queue.READY] & inventory, context.clock(), context.limits(pool)
    suspensions = [until for until in (view.provider_suspended_until, view.suspended_until) if until is not None]
    if view.pause or any(until > now for until in suspensions):
        return view
    ages = {vm: ready_age(known[vm], now) or 0.0 for vm in sorted(ready) if has_expired(known[vm], limits, now)}
    if not ages:
        return view
    why = f"reached end of TTL after {limits.ready_seconds / MINUTE:g} minutes"
    moved = vms.recycle_expired(
        context.db,
        pool.name,
        sorted(ages, key=ages.__getitem__, reverse=True)[: 1 if suspensions else None],
        size=size_in_effect(pool.size, view.orders.size),
        now=now,
        why=why if limits.ready_seconds < SHORT_TTL_SECONDS else "",
    )
    for vm in map(readable, moved):
        _log.info("[!] [%s] '%s' %s, removed from 'ready' queue", pool.name, vm, why, extra={"vm": vm})
    completed = view.queues[Queue.COMPLETED].union(moved)
    left = {Queue.READY: view.queues[Queue.READY].difference(moved), Queue.COMPLETED: completed}
    return replace(view, queues={**view.queues, **left})


def _flag_empty(context: PoolContext, pool: Pool, ready: int, size: int) -> None:
    empty = ready == 0 and size > 0
    if views.flag_empty(context.db, pool.name, empty=empty) and empty:
        _log.warning("[!] [%s] is empty", pool.name)
