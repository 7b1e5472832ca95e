"""Foreign VMs are reported. No inspection discovers, completes or destroys them. docs/pools.md, Whose VM it is."""

import logging
from dataclasses import replace

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.ownership.marks import PoolInventory
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.guards.foreign import MAX_FOREIGN_NAMES, ForeignVms
from vmpooler_tasks.model.names import NameSet, Queue, on_one_line, readable
from vmpooler_tasks.store.guards import foreign
from vmpooler_tasks.store.pools.views import PoolView
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

FOREIGN_SECONDS = 10.0
"""How long a VM must be foreign before it is reported: the API server removes it from ready before it adds it to
running."""


def withdraw_foreign(context: PoolContext, pool: Pool, view: PoolView, inventory: PoolInventory) -> PoolView:
    """Remove foreign VMs from discovered. Return the pool without them.

    Whoever discovered such a VM, VMPooler's manager for one, found it in the folder: that does not say who made it.
    """
    discovered = view.queues[Queue.DISCOVERED]
    others = (names for queue, names in view.queues.items() if queue is not Queue.DISCOVERED)
    found = (discovered & inventory.names).difference(inventory.own, *others)
    if not found:
        return view
    for vm in map(readable, foreign.leave_discovered(context.db, pool.name, sorted(found))):
        shown = on_one_line(vm)
        text = "[!] [%s] '%s' is removed from 'discovered': it does not have the mark of this installation"
        _log.warning(text, pool.name, shown, extra={"vm": shown, "pool": pool.name})
    return replace(view, queues={**view.queues, Queue.DISCOVERED: discovered - found})


def report_foreign(context: PoolContext, pool: Pool, found: frozenset[bytes]) -> None:
    """Record the foreign VMs of the pool for health, and log them once, as soon as each is foreign long enough."""
    db, name, now = context.db, pool.name, context.clock()
    if not found:
        foreign.forget(db, name)
        return
    before = foreign.read_foreign_of(db, name)
    queues.forget_others(db, foreign.FOREIGN_TARGET, name, NameSet(found))
    since: dict[bytes, float] = {}
    for page in chunks(sorted(found)):
        known = queues.remember_first_seen(db, foreign.FOREIGN_TARGET, name, page, now=now).read()
        since |= {vm: at for vm, at in zip(page, known, strict=True) if at and now - at >= FOREIGN_SECONDS}
    if not since:
        return
    names = tuple(readable(vm) for vm in sorted(since)[:MAX_FOREIGN_NAMES])
    record = ForeignVms(pool=name, count=len(since), names=names, since=min(since.values()))
    if record == before:
        return
    foreign.record(db, record)
    if before is None or (record.count, record.names) != (before.count, before.names):
        text = "[!] [%s] %d VMs are in no queue, without the mark of this installation; they are not touched: %s"
        _log.warning(text, name, record.count, on_one_line(record.names_text), extra={"pool": name})
