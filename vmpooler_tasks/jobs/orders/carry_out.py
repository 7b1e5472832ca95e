"""Carry out one order in the provider. docs/vmpooler-behaviour.md: Disks and snapshots."""

import logging
import time
import uuid
from collections.abc import Callable
from typing import NamedTuple

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.orders.failures import INTERRUPTED, InterruptedOrderError, OrderError
from vmpooler_tasks.jobs.pools.context import PoolContext, stamp
from vmpooler_tasks.jobs.pools.guarded_calls import query_part
from vmpooler_tasks.jobs.pools.provider_calls import call_within
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.pools.retries import MAX_DELIVERIES
from vmpooler_tasks.model.vm_orders import OrderClaim, OrderResult, VmOrder
from vmpooler_tasks.providers import DiskProvider, SnapshotProvider
from vmpooler_tasks.store.orders import vm_orders
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.leases import Lease

_log = logging.getLogger("vmpooler_tasks.pools")

ORDER_SECONDS = 600.0
"""Time limit of one order, with its retries."""


class _Result(NamedTuple):
    """What is written into the VM's metadata."""

    field: str = ""
    value: str | bytes = ""
    appends: bool = False


class _Attempt(NamedTuple):
    """One attempt. `id` names the order in the provider. It is the same in each attempt of the order."""

    context: PoolContext
    pool: Pool
    order: VmOrder
    id: str
    lease: Lease


def run(context: PoolContext, order: VmOrder, pool_name: str, owner: str) -> OrderResult:
    """Carry out an order, unless it is not there any more or another worker does.

    `owner` is this try of the task (`task/try`). Raise the error that failed the order; whoever reports the failure
    calls `failures.fail`. Raise ValueError for an order that is not valid.
    """
    order.validate()
    try:
        pool = context.pool(pool_name)
    except InvalidInputError:
        vm_orders.forget_sending(context.db, order)
        return OrderResult.UNKNOWN_POOL
    now = context.clock()
    if breakers.read_state(context.db, context.settings.provider_of(pool), pool.name).refuses_orders(now):
        vm_orders.forget_sending(context.db, order)
        return OrderResult.SUSPENDED
    claimed = vm_orders.claim(
        context.db,
        order,
        pool_name,
        owner=owner,
        now=now,
        leased_until=now + context.settings.config.lease_seconds,
        new_id=uuid.uuid4().hex[:12],
        attempts=MAX_DELIVERIES,
    )
    match claimed.claim:
        case OrderClaim.CLAIMED:
            with context.leases.holding(order.vm, claimed.fence) as lease:
                return _carry_out(_Attempt(context, pool, order, claimed.id, lease))
        case OrderClaim.NOT_RUNNING:
            raise OrderError("the VM is not running")
        case OrderClaim.INTERRUPTED:
            raise InterruptedOrderError(INTERRUPTED)
        case OrderClaim.EXHAUSTED:
            raise InterruptedOrderError(f"{MAX_DELIVERIES} attempts started the order, and none finished it")
        case OrderClaim.BUSY:
            vm_orders.forget_sending(context.db, order)
            return OrderResult.BUSY
        case OrderClaim.GONE:
            return OrderResult.GONE


def _carry_out(attempt: _Attempt) -> OrderResult:
    order, pool = attempt.order, attempt.pool.name
    about = {"vm": order.vm, "pool": pool}
    spec = _STEPS[order.step]
    shown, value = on_one_line(order.vm), on_one_line(order.value)
    _log.info(spec.starts, shown, value, extra=about)
    started = time.perf_counter()
    try:
        result = spec.carry_out(attempt)
    except Exception as error:
        _log.error(spec.failed, shown, type(error).__name__, on_one_line(str(error)), extra=about)
        raise
    if result is None or not vm_orders.finish(
        attempt.context.db,
        order,
        fence=attempt.lease.fence,
        field=result.field,
        result=result.value,
        appends=result.appends,
    ):
        attempt.lease.lost = True
        _log.warning("[!] [%s] '%s': another worker took the order over", pool, shown, extra=about)
        return OrderResult.LOST
    _log.info(spec.done, shown, value, time.perf_counter() - started, extra=about)
    return OrderResult.DONE


def _create_disk(attempt: _Attempt) -> _Result:
    context, order = attempt.context, attempt.order
    provider, spec, disk = context.provider_of(attempt.pool), context.spec(attempt.pool), _disk_name(attempt)
    if not isinstance(provider, DiskProvider):
        raise _unsupported(attempt, "disks", "has_disk and create_disk")
    disks = provider

    def create() -> None:
        if not query_part(context, attempt.pool, disks.has_disk, order.vm, disk):
            disks.create_disk(spec, order.vm, disk, order.size_gb)

    call_within(ORDER_SECONDS, context.retries, create)
    return _Result("disk", f"+{order.value}gb", appends=True)


def _disk_name(attempt: _Attempt) -> str:
    return f"{attempt.order.vm}-{attempt.id}"


def _create_snapshot(attempt: _Attempt) -> _Result:
    context, order = attempt.context, attempt.order
    provider, spec = _snapshots(attempt), context.spec(attempt.pool)

    def create() -> None:
        if not query_part(context, attempt.pool, provider.has_snapshot, order.vm, order.value):
            provider.create_snapshot(spec, order.vm, order.value)

    call_within(ORDER_SECONDS, context.retries, create)
    return _Result(f"snapshot:{order.value}", stamp(context.clock()))


def _revert_snapshot(attempt: _Attempt) -> _Result | None:
    """Start the revert, once. Return None, and start nothing, if another worker took the order over."""
    context, order = attempt.context, attempt.order
    provider, spec = _snapshots(attempt), context.spec(attempt.pool)
    if not context.retries(query_part, context, attempt.pool, provider.has_snapshot, order.vm, order.value):
        raise OrderError("the VM has no such snapshot")
    if not context.leases.renew(attempt.lease):  # this process may have been frozen since the claim
        return None
    call_within(ORDER_SECONDS, provider.revert_snapshot, spec, order.vm, order.value)  # never tried again
    return _Result()


def _snapshots(attempt: _Attempt) -> SnapshotProvider:
    provider = attempt.context.provider_of(attempt.pool)
    if isinstance(provider, SnapshotProvider):
        return provider
    raise _unsupported(attempt, "snapshots", "has_snapshot, create_snapshot and revert_snapshot")


def _unsupported(attempt: _Attempt, what: str, methods: str) -> OrderError:
    name = attempt.context.settings.provider_of(attempt.pool)
    return OrderError(f"provider {name!r} has no {what}: it lacks the methods {methods}")


class _Spec(NamedTuple):
    """How a kind of order is carried out, and VMPooler's words for it in the log."""

    starts: str
    done: str
    failed: str
    carry_out: Callable[[_Attempt], _Result | None]


_STEPS = {
    Step.CREATE_DISK: _Spec(
        "[ ] [disk_manager] '%s' is attaching a %sgb disk",
        "[+] [disk_manager] '%s' attached %sgb disk in %.2f seconds",
        "[!] [disk_manager] '%s' failed to attach disk: %s: %s",
        _create_disk,
    ),
    Step.CREATE_SNAPSHOT: _Spec(
        "[ ] [snapshot_manager] Attempting to snapshot '%s': '%s'",
        "[+] [snapshot_manager] '%s' snapshot '%s' created in %.2f seconds",
        "[!] [snapshot_manager] Failed to snapshot '%s': %s: %s",
        _create_snapshot,
    ),
    Step.REVERT_SNAPSHOT: _Spec(
        "[ ] [snapshot_manager] Attempting to revert '%s' to snapshot '%s'",
        "[+] [snapshot_manager] '%s' reverted to snapshot '%s' in %.2f seconds",
        "[!] [snapshot_manager] Failed to revert '%s': %s: %s",
        _revert_snapshot,
    ),
}
