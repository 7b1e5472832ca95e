"""The checks and destructions of VMs that are due."""

import logging
import random
from collections.abc import Iterable, Iterator, Mapping

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.pools.context import PoolContext, Work, stamp
from vmpooler_tasks.jobs.pools.new_clones import planned_until
from vmpooler_tasks.model.names import NameSet, Queue, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import Fields, Step, age, is_past_lifetime, pending_is_due, ready_is_due
from vmpooler_tasks.model.pools.user_tags import due_user_tag
from vmpooler_tasks.providers import TaggingProvider
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.pools import clones, destroys, vms
from vmpooler_tasks.store.pools.views import PoolView
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.locks import take_turn
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

MAX_CHECKS = 1_000
"""Checks that one inspection hands out for each queue, so that the queue of messages stays bounded."""

MAX_DESTROYS = 500
"""Destructions of one pool that wait for a worker or are with one. Later inspections hand out the others."""

MAX_USER_TAGS, USER_TAGS_SECONDS = 100, 60.0
"""So many VMs of a pool are checked to get the tag of their user, drawn at random; the next ones so much later."""


def due_checks(
    context: PoolContext, pool: Pool, view: PoolView, ready: Mapping[bytes, Fields], gone: frozenset[bytes]
) -> Iterator[Work]:
    """Yield the checks and destructions that are due.

    `ready`: the metadata of the VMs in ready. `gone`: VMs that the inventory lacks, and no brake holds.
    """
    yield from _due_pending(context, pool, sorted(view.queues[Queue.PENDING]))
    yield from _due_ready(context, pool, sorted(view.queues[Queue.READY]), ready)
    yield from _due_running(context, pool, sorted(view.queues[Queue.RUNNING]), gone)
    yield from _due_completed(context, pool, sorted(view.queues[Queue.COMPLETED]))


def _due_completed(context: PoolContext, pool: Pool, names: list[bytes]) -> Iterator[Work]:
    now = context.clock()
    until = planned_until(context.settings, now)
    planned = destroys.plan(context.db, pool.name, names, now=now, until=until, maximum=MAX_DESTROYS)
    yield from _work(Step.DESTROY, pool, planned)


def _due_pending(context: PoolContext, pool: Pool, names: list[bytes]) -> Iterator[Work]:
    now, limits, in_flight = context.clock(), context.limits(pool), clones.in_flight(context.db) if names else set()
    due, known = [], dict(zip(names, vms.read_metadata(context.db, names), strict=True))
    in_flight |= _restore_slots(context, pool, {vm: known[vm] for vm in names if vm not in in_flight})
    for vm, fields in known.items():
        if not fields["clone"]:  # another program put it there without a time: its age starts now
            _start_age(context, vm, now)
        elif pending_is_due(fields, limits, now, being_cloned=vm in in_flight):
            due.append(vm)
    yield from _work(Step.CHECK_PENDING, pool, _sample(due))


def _restore_slots(context: PoolContext, pool: Pool, without: Mapping[bytes, Fields]) -> set[bytes]:
    """Give started clones `without` a slot their slot again: the key that held it was lost. Return their VMs."""
    until = context.clock() + context.settings.config.lease_seconds
    restored = set[bytes]()
    for request in (False, True):
        lost = [vm for vm, of in without.items() if not of["clone_time"] and bool(of["request_id"]) is request]
        slots = clones.slots_for("request" if request else None)
        for page in chunks(lost):
            restored.update(clones.restore_slots(context.db, slots, pool.name, page, leased_until=until))
    if restored:
        _log.warning("[!] [%s] %d clones had lost their slots and have them again", pool.name, len(restored))
    return restored


def _start_age(context: PoolContext, vm: bytes, now: float) -> None:
    try:
        vms.start_age(context.db, vm, stamp(now))
    except WrongTypeError as error:  # of one VM; a purge takes it out of its queue
        shown = on_one_line(readable(vm))
        _log.warning("[!] [pools] '%s' gets no age: %s", shown, error, extra={"vm": shown})


def _due_ready(context: PoolContext, pool: Pool, names: list[bytes], known: Mapping[bytes, Fields]) -> Iterator[Work]:
    now, limits = context.clock(), context.limits(pool)
    due = [vm for vm in names if ready_is_due(known[vm], limits, now)]
    yield from _work(Step.CHECK_READY, pool, _sample(due))


def _due_running(context: PoolContext, pool: Pool, names: list[bytes], gone: frozenset[bytes]) -> Iterator[Work]:
    now, limits = context.clock(), context.limits(pool)
    checkouts = vms.read_checkouts(context.db, pool.name, names)
    rows = zip(names, vms.read_metadata(context.db, names), checkouts, strict=True)
    known = {vm: {**fields, "checkout": checkout or fields["checkout"]} for vm, fields, checkout in rows}
    without_checkout = {vm for vm, fields in known.items() if age(fields["checkout"], now) is None}
    queues.forget_others(context.db, Queue.RUNNING, pool.name, NameSet(without_checkout))
    past_lifetime = {vm for vm, fields in known.items() if is_past_lifetime(fields, limits, now)}
    due = without_checkout | gone.intersection(names) | past_lifetime
    due |= _due_user_tags(context, pool, {vm for vm, fields in known.items() if due_user_tag(fields)} - due)
    yield from _work(Step.CHECK_RUNNING, pool, _sample(sorted(due)))


def _due_user_tags(context: PoolContext, pool: Pool, without_tag: set[bytes]) -> set[bytes]:
    """Return the VMs whose users get named in the provider now. One that failed is drawn again later."""
    if not without_tag or not isinstance(context.provider_of(pool), TaggingProvider):
        return set()
    if not take_turn(context.db, keys.turn("user_tags", pool.name), USER_TAGS_SECONDS):
        return set()
    return set(random.sample(sorted(without_tag), min(len(without_tag), MAX_USER_TAGS)))


def _sample(names: list[bytes]) -> list[bytes]:
    """Return at most MAX_CHECKS of the names. They are drawn at random, so that no VM waits for ever."""
    return names if len(names) <= MAX_CHECKS else random.sample(names, MAX_CHECKS)


def _work(step: Step, pool: Pool, names: Iterable[bytes]) -> Iterator[Work]:
    for vm in names:
        try:
            yield Work(step, vm.decode(), pool.name)
        except UnicodeDecodeError:  # no provider has such a VM; a purge takes it out of its queue
            _log.warning("[!] [%s] %r is not a valid name of a VM", pool.name, vm)
