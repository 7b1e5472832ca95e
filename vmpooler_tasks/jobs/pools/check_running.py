"""The check of one running VM: is its lifetime over, and has its user a tag? See docs/vmpooler-behaviour.md."""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.jobs.pools.failed_vm import log_replaced
from vmpooler_tasks.jobs.pools.guarded_calls import CHECK_SECONDS, query_vm
from vmpooler_tasks.jobs.pools.provider_calls import call_within
from vmpooler_tasks.model.names import Queue, on_one_line
from vmpooler_tasks.model.pools.lifecycle import Fields, age, is_past_lifetime, lifetime_hours
from vmpooler_tasks.model.pools.results import CheckResult, Completion
from vmpooler_tasks.model.pools.user_tags import due_user_tag
from vmpooler_tasks.providers import TaggingProvider
from vmpooler_tasks.store.guards.missing import MissingMove, complete_missing
from vmpooler_tasks.store.pools import vms
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

GRACE_SECONDS = 60.0
"""How long a running VM may lack a checkout time: the API server moves a VM first, and writes the time afterwards."""


def check(context: PoolContext, vm: str, pool_name: str) -> CheckResult:
    """Complete a running VM that is past its lifetime, was never checked out, or is gone from its provider.

    The brake of the pool may hold a VM that is gone. One that runs gets the tag of its user, once.
    Raise ProviderError if the provider does not know, SuspendedError if it is suspended.
    """
    pool, raw, now = context.pool(pool_name), vm.encode(), context.clock()
    limits = context.limits(pool)
    (fields,), (checkout,) = vms.read_metadata(context.db, [raw]), vms.read_checkouts(context.db, pool_name, [raw])
    fields = {**fields, "checkout": checkout or fields["checkout"]}
    if is_past_lifetime(fields, limits, now):
        return _complete(context, vm, pool_name, f"reached end of TTL after {lifetime_hours(fields, limits):g} hours")
    if age(fields["checkout"], now) is None and _was_first_seen_before_grace(context, vm, pool_name, now):
        return _complete(
            context, vm, pool_name, "is listed as running, but has no checkouttime data. Removing from running"
        )
    if query_vm(context, pool, vm) is None:
        return _complete_missing(context, vm, pool_name)
    _tag_user(context, pool, vm, fields)
    return CheckResult.RUNNING


def _tag_user(context: PoolContext, pool: Pool, vm: str, fields: Fields) -> None:
    """Name the user of the VM in the provider, if that is still to be done.

    A failure is logged, and a later check tries again. It does not count for the circuit breaker: the pool works
    without tags.
    """
    user, provider = due_user_tag(fields), context.provider_of(pool)
    if not user or not isinstance(provider, TaggingProvider):
        return
    try:
        existed = call_within(CHECK_SECONDS, provider.tag_vm_user, context.spec(pool), vm, user)
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, the VM stays as it is
        text, shown = "[!] [%s] '%s' did not get the tag of its user: %s", on_one_line(vm)
        what = on_one_line(f"{type(error).__name__}: {error}")
        _log.warning(text, pool.name, shown, what, extra={"vm": shown, "pool": pool.name})
        return
    if existed:
        vms.set_field(context.db, vm, "user_tagged", "true")


def _was_first_seen_before_grace(context: PoolContext, vm: str, pool: str, now: float) -> bool:
    (since,) = queues.remember_first_seen(context.db, Queue.RUNNING, pool, [vm.encode()], now=now).read()
    return since is not None and now - since >= GRACE_SECONDS


def _complete_missing(context: PoolContext, vm: str, pool: str) -> CheckResult:
    move = complete_missing(context.db, Queue.RUNNING, context.missing_guard(vm, pool))
    if move in (MissingMove.MOVED, MissingMove.REPLACED):
        _log.info("[!] [%s] '%s' is no longer in inventory, removing from running", pool, vm)
        if move is MissingMove.REPLACED:
            log_replaced(vm, pool)
        return CheckResult.COMPLETED
    return CheckResult.HELD if move is MissingMove.HELD else CheckResult.LEFT_QUEUE


def _complete(context: PoolContext, vm: str, pool: str, why: str) -> CheckResult:
    completion = vms.complete(context.db, vm, pool, Queue.RUNNING)
    if completion is Completion.LEFT_QUEUE:
        return CheckResult.LEFT_QUEUE
    _log.info("[!] [%s] '%s' %s", pool, vm, why)
    if completion is Completion.REPLACED:
        log_replaced(vm, pool)
    return CheckResult.COMPLETED
