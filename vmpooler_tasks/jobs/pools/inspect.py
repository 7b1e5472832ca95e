"""Looks at one pool: what was ordered, what is missing, what is too much, which of its VMs need a look of their own.

data-model.md: How VMPooler's manager behaves. It changes nothing in the provider itself; what has to be done there is
answered as work, for whichever worker takes it.
"""

import logging
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.errors import ProviderError, ProviderTimeoutError, WrongTypeError
from vmpooler_tasks.jobs.pools.context import PoolContext, Work, stamp
from vmpooler_tasks.jobs.pools.provider_calls import LIST_SECONDS, within
from vmpooler_tasks.model.names import Queue, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import Step, age, is_past_lifetime, pending_is_due, ready_is_due
from vmpooler_tasks.model.pools.sizes import size_in_effect
from vmpooler_tasks.model.pools.vm_names import candidates
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.pools import breakers, clones, destroys, overrides, vms
from vmpooler_tasks.store.pools.breakers import Question
from vmpooler_tasks.store.pools.overrides import PoolView
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.locks import OwnedLock, held
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

LOCK_SECONDS = 60
CLONES_AT_ONCE = 200
"""Clones that one look begins at the most; the next look begins more."""

LOOKS_AT_ONCE = 1_000
"""VMs of each queue that one look at a pool has looked at: a queue of messages shall not grow without end."""

SPARE_NAMES = 5
"""Names more than are needed, for those that are taken."""

PLANNED_LEASES = 5
"""Leases that a clone or destruction may wait for a worker before it is sent anew: a queue may be long."""

DISCOVERY_SECONDS = 10.0
"""For so long a VM may be in no queue: the API server takes one out of ready before it puts it into running."""


@dataclass(frozen=True, slots=True)
class PoolLook:
    """What one look at a pool came to: the work to be handed out, and what kept a part of it from being done."""

    pool: str
    work: list[Work] = field(default_factory=list)
    busy: bool = False
    trouble: ProviderError | None = None


def check(manager: PoolContext, name: str) -> PoolLook:
    """Looks at the pool, unless another worker is just doing so (`busy`).

    What needs no provider is done even if the provider fails; that is answered as `trouble`. Raises InvalidInputError
    for a pool that is not configured.
    """
    pool = manager.pool(name)
    with held(OwnedLock(manager.db, keys.check_lock(name), LOCK_SECONDS, f"a look at '{name}'")) as ours:
        if not ours:
            return PoolLook(name, busy=True)
        return _look(manager, pool)


def _look(manager: PoolContext, pool: Pool) -> PoolLook:
    provider = manager.settings.provider_of(pool)
    seen = _carry_out_orders(manager, pool, overrides.view(manager.db, pool.name, provider))
    inventory, trouble = _inventory(manager, pool, seen)
    look = PoolLook(pool.name, trouble=trouble)
    if inventory is not None:
        _discover(manager, pool, seen, inventory)
        seen = overrides.view(manager.db, pool.name, provider)  # the inventory may have taken a while
    if inventory is not None or trouble is not None:  # else the provider is left alone
        look.work.extend(_due(manager, pool, seen, inventory))
    look.work.extend(_replenish(manager, pool, seen))
    return look


def _carry_out_orders(manager: PoolContext, pool: Pool, seen: PoolView) -> PoolView:
    """Overrides and resets that were ordered through the API."""
    db, orders, name = manager.db, seen.orders, pool.name
    if orders.undo_size or orders.undo_template:
        overrides.undo(db, name, size=orders.undo_size, template=orders.undo_template)
        what = " and ".join(
            w for w, ordered in (("size", orders.undo_size), ("template", orders.undo_template)) if ordered
        )
        _log.info("[*] [%s] the override of its %s is undone", name, what)
    template = (None if orders.undo_template else orders.template) or pool.template
    changed = template and orders.known_template and template != orders.known_template
    if changed:
        _drain(manager, name, f"template updated from {orders.known_template} to {template}")
    if template and template != orders.known_template:
        overrides.remember_template(db, name, template)
    if orders.reset:
        _drain(manager, name, "reset")
        overrides.reset_done(db, name)
    if changed or orders.reset or orders.undo_size or orders.undo_template:
        return overrides.view(db, name, manager.settings.provider_of(pool))
    return seen


def _drain(manager: PoolContext, pool: str, why: str) -> None:
    count = sum(len(vms.complete_some(manager.db, pool, queue)) for queue in (Queue.PENDING, Queue.READY))
    _log.info("[*] [%s] %s: %d pending and ready VMs moved to completed", pool, on_one_line(why), count)


def _inventory(manager: PoolContext, pool: Pool, seen: PoolView) -> tuple[set[bytes] | None, ProviderError | None]:
    """(the names that the provider has, what kept it from saying). A failed inventory is none, never an empty one."""
    name, config, now = manager.settings.provider_of(pool), manager.settings.config, manager.clock()
    if seen.provider_closed_until is not None and seen.provider_closed_until > now:
        return None, None
    if seen.provider_is_silent and not breakers.try_listing(manager.db, name, now=now, until=now + LOCK_SECONDS):
        return None, None
    try:
        found = {vm.encode() for vm in within(LIST_SECONDS, manager.provider_of(pool).list_vms, manager.spec(pool))}
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, the rest of the pool is looked at
        _log.error(
            "[!] [%s] Its inventory could not be read: %s: %s", pool.name, type(error).__name__, on_one_line(str(error))
        )
        breakers.count_failure(
            manager.db,
            name,
            Question.LISTING,
            now=manager.clock(),
            most=config.breaker_failures,
            seconds=config.breaker_seconds,
            hung=isinstance(error, ProviderTimeoutError),
        )
        return None, error if isinstance(error, ProviderError) else ProviderError(f"{type(error).__name__}: {error}")
    if seen.provider_is_silent:
        breakers.count_success(manager.db, name, Question.LISTING, most=config.breaker_failures)
    return found, None


def _discover(manager: PoolContext, pool: Pool, seen: PoolView, inventory: set[bytes]) -> None:
    """VMs in the inventory and in no queue, twice in a row, go to discovered, and with the next look to completed."""
    for vm in vms.complete_some(manager.db, pool.name, Queue.DISCOVERED):
        text, shown = "[!] [%s] '%s' was in no queue: moved from 'discovered' to 'completed'", on_one_line(vm)
        _log.info(text, pool.name, shown, extra={"vm": shown, "pool": pool.name})
    now = manager.clock()
    stray = sorted(inventory.difference(*seen.queues.values()))
    queues.forget_others(manager.db, Queue.DISCOVERED, pool.name, set(map(hash, stray)))
    for page in chunks(stray):
        known = queues.first_seen(manager.db, Queue.DISCOVERED, pool.name, page, now=now).result()
        old = [vm for vm, since in zip(page, known, strict=True) if since and now - float(since) >= DISCOVERY_SECONDS]
        for vm in vms.discover(manager.db, pool.name, old) if old else ():
            shown = on_one_line(vm)
            about = {"vm": shown, "pool": pool.name}
            _log.warning("[!] [%s] '%s' added to 'discovered' queue", pool.name, shown, extra=about)


def _due(manager: PoolContext, pool: Pool, seen: PoolView, inventory: set[bytes] | None) -> Iterator[Work]:
    yield from _due_pending(manager, pool, sorted(seen.queues[Queue.PENDING]))
    yield from _due_ready(manager, pool, sorted(seen.queues[Queue.READY]))
    yield from _due_running(manager, pool, sorted(seen.queues[Queue.RUNNING]), inventory)
    yield from _due_completed(manager, pool, sorted(seen.queues[Queue.COMPLETED]))


def _due_completed(manager: PoolContext, pool: Pool, names: list[bytes]) -> Iterator[Work]:
    now = manager.clock()
    until = planned_until(manager.settings, now)
    yield from _work(Step.DESTROY, pool, destroys.plan(manager.db, names, now=now, until=until))


def _due_pending(manager: PoolContext, pool: Pool, names: list[bytes]) -> Iterator[Work]:
    now, limits, in_flight = manager.clock(), manager.limits(pool), clones.in_flight(manager.db) if names else set()
    due = []
    for vm, fields in zip(names, vms.metadata(manager.db, names), strict=True):
        if not fields["clone"]:  # put there by somebody else: it ages from now on
            _note_as_begun(manager, vm, now)
        elif pending_is_due(fields, limits, now, being_cloned=vm in in_flight):
            due.append(vm)
    yield from _work(Step.CHECK_PENDING, pool, _some(due))


def _note_as_begun(manager: PoolContext, vm: bytes, now: float) -> None:
    try:
        vms.begin_age(manager.db, vm, stamp(now))
    except WrongTypeError as error:  # of one VM; a purge takes it out of its queue
        shown = on_one_line(readable(vm))
        _log.warning("[!] [pools] '%s' has no age: %s", shown, error, extra={"vm": shown})


def _due_ready(manager: PoolContext, pool: Pool, names: list[bytes]) -> Iterator[Work]:
    now, limits = manager.clock(), manager.limits(pool)
    rows = zip(names, vms.metadata(manager.db, names), strict=True)
    yield from _work(Step.CHECK_READY, pool, _some([vm for vm, fields in rows if ready_is_due(fields, limits, now)]))


def _due_running(manager: PoolContext, pool: Pool, names: list[bytes], inventory: set[bytes] | None) -> Iterator[Work]:
    now, limits = manager.clock(), manager.limits(pool)
    rows = zip(names, vms.metadata(manager.db, names), vms.checkouts(manager.db, pool.name, names), strict=True)
    since = {vm: {**fields, "checkout": checkout or fields["checkout"]} for vm, fields, checkout in rows}
    timeless = {vm for vm, fields in since.items() if age(fields["checkout"], now) is None}
    queues.forget_others(manager.db, Queue.RUNNING, pool.name, set(map(hash, timeless)))
    gone = set(names) - inventory if inventory is not None else set()
    past = {vm for vm, fields in since.items() if is_past_lifetime(fields, limits, now)}
    yield from _work(Step.CHECK_RUNNING, pool, _some(sorted(timeless | gone | past)))


def _some(names: list[bytes]) -> list[bytes]:
    """Others with the next look: any, so that none waits for ever."""
    return names if len(names) <= LOOKS_AT_ONCE else random.sample(names, LOOKS_AT_ONCE)


def _work(step: Step, pool: Pool, names: Iterable[bytes]) -> Iterator[Work]:
    for vm in names:
        try:
            yield Work(step, vm.decode(), pool.name)
        except UnicodeDecodeError:  # no provider has such a VM; a purge takes it out of its queue
            _log.warning("[!] [%s] %r is no name of a VM", pool.name, vm)


def _replenish(manager: PoolContext, pool: Pool, seen: PoolView) -> Iterator[Work]:
    """Begins the clones that the pool is short of, and completes ready VMs that are too many."""
    size, config, now = size_in_effect(pool.size, seen.orders.size), manager.settings.config, manager.clock()
    excess = vms.complete_some(manager.db, pool.name, Queue.READY, keep=size)
    if excess:
        _log.info("[*] [%s] %d ready VMs more than its size of %d moved to completed", pool.name, len(excess), size)
    if any(until is not None and until > now for until in (seen.provider_closed_until, seen.closed_until)):
        _flag_empty(manager, pool, len(seen.queues[Queue.READY]), size)
        return
    ready, pending = len(seen.queues[Queue.READY]), len(seen.queues[Queue.PENDING])
    # Where its clones failed for good, one at a time may try whether that is over.
    aim = size if seen.closed_until is None else min(size, ready + max(1, pending))
    wanted = min(max(0, aim - ready - pending) + SPARE_NAMES, CLONES_AT_ONCE)
    begun, ready, _ = clones.begin(
        manager.db,
        pool.name,
        list(islice(candidates(config.prefix), wanted)),
        size=aim,
        task_limit=config.task_limit,
        leased_until=planned_until(manager.settings, now),
        metadata=first_metadata(manager.settings, pool, now),
    )
    _flag_empty(manager, pool, ready, size)
    for vm in begun:
        yield Work(Step.CLONE, vm, pool.name)


def _flag_empty(manager: PoolContext, pool: Pool, ready: int, size: int) -> None:
    empty = ready == 0 and size > 0
    if overrides.flag_empty(manager.db, pool.name, empty=empty) and empty:
        _log.warning("[!] [%s] is empty", pool.name)


def first_metadata(settings: Settings, pool: Pool, now: float) -> dict[str, str | bytes | None]:
    """What is known of a VM before it is made."""
    return {
        "clone": stamp(now),
        "template": pool.name,
        "pool": pool.name,
        "domain": settings.domain_of(pool),
    }


def planned_until(settings: Settings, now: float) -> float:
    """Until when work that is handed out now is held free for the worker that will take it on."""
    return now + PLANNED_LEASES * settings.config.lease_seconds


def reap(manager: PoolContext) -> list[Work]:
    """The clones whose worker is gone, or that never reached one, to be taken up anew."""
    now, found = manager.clock(), list[Work]()
    until = planned_until(manager.settings, now)
    for slots, request_id in ((clones.slots_for(None), None), (clones.slots_for("request"), "request")):
        for vm, pool in clones.reap(manager.db, slots, now=now, leased_until=until):
            about = {"vm": vm, "pool": pool}
            _log.warning("[!] [%s] '%s' is taken up again: its clone's lease has run out", pool, vm, extra=about)
            found.append(Work(Step.CLONE, vm, pool, request_id))
    return found
