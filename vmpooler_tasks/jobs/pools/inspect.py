"""The inspection of one pool: orders, inventory, VMs whose checks are due, clones that are missing.

See docs/vmpooler-behaviour.md. An inspection changes nothing in the provider. What has to be done there it returns as
work, for any worker.
"""

import logging
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.errors import ProviderError, ProviderTimeoutError, WrongTypeError
from vmpooler_tasks.jobs.pools.context import PoolContext, Work, stamp
from vmpooler_tasks.jobs.pools.provider_calls import LIST_SECONDS, call_within
from vmpooler_tasks.model.health.reasons import error_line
from vmpooler_tasks.model.names import NameSet, Queue, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import Step, age, is_past_lifetime, pending_is_due, ready_is_due
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.model.pools.results import TrialResult
from vmpooler_tasks.model.pools.sizes import size_in_effect
from vmpooler_tasks.model.pools.vm_names import candidates
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.health import progress
from vmpooler_tasks.store.pools import breakers, clones, destroys, overrides, pauses, views, vms
from vmpooler_tasks.store.pools.breakers import CallKind
from vmpooler_tasks.store.pools.views import PoolView
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.locks import OwnedLock, held
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

INSPECTION_LOCK_SECONDS = 60
MAX_CLONES = 200
"""Clones that one inspection starts; the next one starts more."""

MAX_CHECKS = 1_000
"""Checks that one inspection hands out for each queue, so that the queue of messages stays bounded."""

SPARE_NAMES = 5
"""Names in addition to those that are needed, because some may be taken."""

PLANNED_LEASES = 5
"""Lease times that a clone or destruction may wait for a worker before it is sent again: queues may be long."""

DISCOVERY_SECONDS = 10.0
"""How long a VM may be in no queue: the API server removes it from ready before it adds it to running."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of an inspection: the work to hand out, and the provider's error that left a part of it undone.

    `busy`: another worker inspects the pool now, and nothing was done.
    """

    pool: str
    work: list[Work] = field(default_factory=list)
    busy: bool = False
    error: ProviderError | None = None


def inspect_pool(context: PoolContext, name: str) -> Inspection:
    """Inspect the pool, unless another worker does.

    If the provider fails, everything that does not need it is done. Raise InvalidInputError for a pool that is not
    configured.
    """
    pool = context.pool(name)
    with held(
        OwnedLock(context.db, keys.check_lock(name), INSPECTION_LOCK_SECONDS, f"the inspection of '{name}'")
    ) as is_held:
        if not is_held:
            return Inspection(name, busy=True)
        work = progress.inspections_of(name)
        try:
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
    view = _carry_out_orders(context, pool, views.read_view(context.db, pool.name, provider))
    if view.pause:
        view = _keep_paused(context, pool, view, view.pause)
    inventory, error = _fetch_inventory(context, pool, view)
    inspection = Inspection(pool.name, error=error)
    if inventory is not None:
        _discover(context, pool, view, inventory)
        view = views.read_view(context.db, pool.name, provider)  # the inventory may have taken a while
    if inventory is not None or error is not None:  # otherwise the provider is suspended: no checks
        inspection.work.extend(_due(context, pool, view, inventory))
    inspection.work.extend(_replenish(context, pool, view))
    return inspection


def _carry_out_orders(context: PoolContext, pool: Pool, view: PoolView) -> PoolView:
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


def _keep_paused(context: PoolContext, pool: Pool, view: PoolView, pause: Pause) -> PoolView:
    """Take back the clones of a paused pool that no worker has started, and empty a draining pool.

    Return the pool as it is afterwards.
    """
    db, name = context.db, pool.name
    taken = clones.take_back(db, name, sorted(view.queues[Queue.PENDING]), now=context.clock())
    moved = []
    if pause.state is PauseState.DRAINING:
        moved = [vm for queue in (Queue.PENDING, Queue.READY) for vm in pauses.drain(db, name, queue)]
    if taken:
        _log.info("[*] [%s] paused: %d clones that no worker had started are taken back", name, len(taken))
    if moved:
        _log.info("[*] [%s] draining: %d pending and ready VMs moved to completed", name, len(moved))
    return views.read_view(db, name, context.settings.provider_of(pool)) if taken or moved else view


def _drain(context: PoolContext, pool: str, why: str) -> None:
    count = sum(len(vms.complete_some(context.db, pool, queue)) for queue in (Queue.PENDING, Queue.READY))
    _log.info("[*] [%s] %s: %d pending and ready VMs moved to completed", pool, on_one_line(why), count)


def _fetch_inventory(
    context: PoolContext, pool: Pool, view: PoolView
) -> tuple[set[bytes] | None, ProviderError | None]:
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
        inventory = {vm.encode() for vm in listed}
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


def _discover(context: PoolContext, pool: Pool, view: PoolView, inventory: set[bytes]) -> None:
    """Move strays to discovered. The next inspection moves them to completed.

    A stray is in the inventory and in no queue, in two inspections at least DISCOVERY_SECONDS apart.
    """
    for vm in vms.complete_some(context.db, pool.name, Queue.DISCOVERED):
        text, shown = "[!] [%s] '%s' was in no queue: moved from 'discovered' to 'completed'", on_one_line(vm)
        _log.info(text, pool.name, shown, extra={"vm": shown, "pool": pool.name})
    now = context.clock()
    strays = sorted(inventory.difference(*view.queues.values()))
    queues.forget_others(context.db, Queue.DISCOVERED, pool.name, NameSet(strays))
    for page in chunks(strays):
        known = queues.remember_first_seen(context.db, Queue.DISCOVERED, pool.name, page, now=now).read()
        old = [vm for vm, since in zip(page, known, strict=True) if since and now - since >= DISCOVERY_SECONDS]
        for vm in vms.discover(context.db, pool.name, old) if old else ():
            shown = on_one_line(vm)
            about = {"vm": shown, "pool": pool.name}
            _log.warning("[!] [%s] '%s' added to 'discovered' queue", pool.name, shown, extra=about)


def _due(context: PoolContext, pool: Pool, view: PoolView, inventory: set[bytes] | None) -> Iterator[Work]:
    yield from _due_pending(context, pool, sorted(view.queues[Queue.PENDING]))
    yield from _due_ready(context, pool, sorted(view.queues[Queue.READY]))
    yield from _due_running(context, pool, sorted(view.queues[Queue.RUNNING]), inventory)
    yield from _due_completed(context, pool, sorted(view.queues[Queue.COMPLETED]))


def _due_completed(context: PoolContext, pool: Pool, names: list[bytes]) -> Iterator[Work]:
    now = context.clock()
    until = planned_until(context.settings, now)
    yield from _work(Step.DESTROY, pool, destroys.plan(context.db, names, now=now, until=until))


def _due_pending(context: PoolContext, pool: Pool, names: list[bytes]) -> Iterator[Work]:
    now, limits, in_flight = context.clock(), context.limits(pool), clones.in_flight(context.db) if names else set()
    due = []
    for vm, fields in zip(names, vms.read_metadata(context.db, names), strict=True):
        if not fields["clone"]:  # another program put it there without a time: its age starts now
            _start_age(context, vm, now)
        elif pending_is_due(fields, limits, now, being_cloned=vm in in_flight):
            due.append(vm)
    yield from _work(Step.CHECK_PENDING, pool, _sample(due))


def _start_age(context: PoolContext, vm: bytes, now: float) -> None:
    try:
        vms.start_age(context.db, vm, stamp(now))
    except WrongTypeError as error:  # of one VM; a purge takes it out of its queue
        shown = on_one_line(readable(vm))
        _log.warning("[!] [pools] '%s' gets no age: %s", shown, error, extra={"vm": shown})


def _due_ready(context: PoolContext, pool: Pool, names: list[bytes]) -> Iterator[Work]:
    now, limits = context.clock(), context.limits(pool)
    rows = zip(names, vms.read_metadata(context.db, names), strict=True)
    due = [vm for vm, fields in rows if ready_is_due(fields, limits, now)]
    yield from _work(Step.CHECK_READY, pool, _sample(due))


def _due_running(context: PoolContext, pool: Pool, names: list[bytes], inventory: set[bytes] | None) -> Iterator[Work]:
    now, limits = context.clock(), context.limits(pool)
    checkouts = vms.read_checkouts(context.db, pool.name, names)
    rows = zip(names, vms.read_metadata(context.db, names), checkouts, strict=True)
    known = {vm: {**fields, "checkout": checkout or fields["checkout"]} for vm, fields, checkout in rows}
    without_checkout = {vm for vm, fields in known.items() if age(fields["checkout"], now) is None}
    queues.forget_others(context.db, Queue.RUNNING, pool.name, NameSet(without_checkout))
    gone = set(names) - inventory if inventory is not None else set()
    past_lifetime = {vm for vm, fields in known.items() if is_past_lifetime(fields, limits, now)}
    yield from _work(Step.CHECK_RUNNING, pool, _sample(sorted(without_checkout | gone | past_lifetime)))


def _sample(names: list[bytes]) -> list[bytes]:
    """Return at most MAX_CHECKS of the names. They are drawn at random, so that no VM waits for ever."""
    return names if len(names) <= MAX_CHECKS else random.sample(names, MAX_CHECKS)


def _work(step: Step, pool: Pool, names: Iterable[bytes]) -> Iterator[Work]:
    for vm in names:
        try:
            yield Work(step, vm.decode(), pool.name)
        except UnicodeDecodeError:  # no provider has such a VM; a purge takes it out of its queue
            _log.warning("[!] [%s] %r is not a valid name of a VM", pool.name, vm)


def _replenish(context: PoolContext, pool: Pool, view: PoolView) -> Iterator[Work]:
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
    # After permanent errors one clone at a time may try whether their cause is gone.
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


def _flag_empty(context: PoolContext, pool: Pool, ready: int, size: int) -> None:
    empty = ready == 0 and size > 0
    if views.flag_empty(context.db, pool.name, empty=empty) and empty:
        _log.warning("[!] [%s] is empty", pool.name)


def first_metadata(settings: Settings, pool: Pool, now: float) -> dict[str, str | bytes | None]:
    """Return the metadata of a VM whose clone starts now."""
    return {
        "clone": stamp(now),
        "template": pool.name,
        "pool": pool.name,
        "domain": settings.domain_of(pool),
    }


def planned_until(settings: Settings, now: float) -> float:
    """Return the epoch until which work that is handed out now waits for a worker."""
    return now + PLANNED_LEASES * settings.config.lease_seconds


def reap(context: PoolContext) -> list[Work]:
    """Take clones from dead workers. Return them as work, together with clones that no worker ever claimed."""
    now, work = context.clock(), list[Work]()
    until = planned_until(context.settings, now)
    for slots, request_id in ((clones.slots_for(None), None), (clones.slots_for("request"), "request")):
        for vm, pool in clones.reap(context.db, slots, now=now, leased_until=until):
            about = {"vm": vm, "pool": pool}
            _log.warning("[!] [%s] '%s' is handed out again: the lease of its clone has expired", pool, vm, extra=about)
            work.append(Work(Step.CLONE, vm, pool, request_id))
    return work
