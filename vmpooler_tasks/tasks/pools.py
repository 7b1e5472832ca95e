"""The pool workers' tasks. With `manage_pools` off they do nothing, and return that as their result."""

import random
from collections.abc import Callable
from typing import Any

from celery import shared_task

from vmpooler_tasks.errors import ProviderError, SuspendedError
from vmpooler_tasks.jobs.inspection import inspect, roster
from vmpooler_tasks.jobs.orders import carry_out, take
from vmpooler_tasks.jobs.orders.failures import OrderError
from vmpooler_tasks.jobs.ownership import marking, unconfigured
from vmpooler_tasks.jobs.pools import check_pending, check_ready, check_running, clone, destroy, new_clones
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.model.manager_watch import UNWATCHED, ManagerWatch, WatchState
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.pools.results import CheckResult
from vmpooler_tasks.model.vm_orders import ORDERS, VmOrder
from vmpooler_tasks.store.guards import removed_pools
from vmpooler_tasks.store.orders import vm_orders
from vmpooler_tasks.store.pools.clones import is_in_flight
from vmpooler_tasks.tasks import registry
from vmpooler_tasks.tasks.celery.base import Task
from vmpooler_tasks.tasks.guards import published_config, unknown_pools
from vmpooler_tasks.tasks.messages import (
    count_waiting,
    has_waiting_inspections,
    send_inspections,
    send_unconfigured,
    send_work,
)
from vmpooler_tasks.tasks.other_manager import guard
from vmpooler_tasks.tasks.pool_context import pool_context
from vmpooler_tasks.tasks.process import database, settings

MAX_WAITING_ORDERS = 1_000
"""With more messages waiting in the queue of the clones, no order is handed out: its message may be among them."""

WATCH_REFUSALS = {
    WatchState.OTHER: "another pool manager is at work",
    WatchState.WATCHING: "the workers watch for another pool manager first",
}
"""The results of tasks that did nothing, by what the watch for another pool manager says."""


class PoolTask(Task):
    """A task of the pool manager. It does nothing where VMPooler's own manager has the pools."""

    abstract = True
    send_events = False  # they are many: Flower would show nothing else, and a clone would cost a quarter more
    # A provider's error is logged in one line, without a traceback.
    throws = (*Task.throws, ProviderError, clone.WorkerDiedError, OrderError)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not settings().config.manage_pools:
            return unknown_pools.return_to_manager(self, args, kwargs) or "manage_pools is off"
        watch = guard.refresh()
        if watch.is_alone or self._may_run(watch, *args, **kwargs):
            return unknown_pools.divert(self, args, kwargs) or super().__call__(*args, **kwargs)
        return WATCH_REFUSALS[watch.state]

    def _may_run(self, watch: ManagerWatch, *args: Any, **kwargs: Any) -> bool:
        """Return whether the task may run although another manager is at work, or may be.

        Before the watch has started, the work on single VMs may: it was handed out before. A clone that these workers
        started, or an order that they took out of its set, ends also beside another manager: nobody else has it. An
        order that still waits is left to the other manager.
        """
        step = registry.TASKS[self.name].step
        if self.name == registry.CHECK_POOLS:
            return True  # it checks the watch
        vm = kwargs.get("vm", next(iter(args), None))
        if step in ORDERS:
            return vm_orders.is_claimed(pool_context().db, str(vm))
        if watch is UNWATCHED:
            return step is not None
        return step is Step.CLONE and is_in_flight(pool_context().db, str(vm))


@shared_task(name=registry.CHECK_POOLS, base=PoolTask)
def check_pools() -> str:
    """Send an inspection for each pool, and send again the clones and orders whose worker is gone."""
    interval = settings().config.check_loop_delay_min
    seen = guard.observe([pool.name for pool in settings().pools], interval)
    if seen.state is not WatchState.WATCHING:
        send_work(new_clones.reap(pool_context()))
        send_work(take.reap(pool_context()))
    if seen.state is WatchState.OTHER:
        removed_pools.forget_all(database())
    if not seen.is_alone:
        return WATCH_REFUSALS[seen.state]
    published_config.publish(only_if_missing=not seen.became_alone)
    pools = roster.update(pool_context())
    send_unconfigured(unconfigured.due_rounds(pool_context()))
    if has_waiting_inspections():
        return "the inspections of an earlier tick wait"
    random.shuffle(pools)  # so that none is always behind the slowest one
    send_inspections(pools)
    return f"{len(pools)} pools"


@shared_task(name=registry.CHECK_POOL, base=PoolTask)
def check_pool(pool: str) -> str:
    """Inspect one pool, as `vmpooler_tasks.jobs.inspection.inspect` does, and send the work that it found."""
    inspection = inspect.inspect_pool(pool_context(), pool)
    count = send_work(inspection.work)
    if inspection.error:
        raise inspection.error
    return "busy" if inspection.busy else f"{count} pieces of work"


@shared_task(name=registry.PURGE_UNCONFIGURED, base=PoolTask)
def purge_unconfigured(provider: str) -> str:
    return unconfigured.run(pool_context(), provider)


@shared_task(name=registry.PROCESS_REQUESTS, base=PoolTask)
def process_ondemand_requests() -> str:
    """Fulfil all on-demand requests as far as the slots allow, and hand out the orders for running VMs."""
    try:
        clones = send_work(fulfil.run(pool_context()))
    finally:  # a request that cannot be processed stops no order
        is_idle = count_waiting(registry.CLONE_QUEUE) <= MAX_WAITING_ORDERS
        orders = send_work(take.run(pool_context(), may_send=is_idle))
    return f"{clones} clones, {orders} orders"


@shared_task(name=registry.CLONE_VM, base=PoolTask, bind=True)
def clone_vm(self: Task, vm: str, pool: str, request_id: str | None = None) -> str:
    return str(clone.run(pool_context(), vm, pool, f"{self.request.id}/{self.request.retries}", request_id))


@shared_task(name=registry.CHECK_PENDING_VM, base=PoolTask)
def check_pending_vm(vm: str, pool: str) -> str:
    return _check(check_pending.check, vm, pool)


@shared_task(name=registry.CHECK_READY_VM, base=PoolTask)
def check_ready_vm(vm: str, pool: str) -> str:
    return _check(check_ready.check, vm, pool)


@shared_task(name=registry.CHECK_RUNNING_VM, base=PoolTask)
def check_running_vm(vm: str, pool: str) -> str:
    return _check(check_running.check, vm, pool)


def _check(check: Callable[[PoolContext, str, str], CheckResult], vm: str, pool: str) -> str:
    try:
        return str(check(pool_context(), vm, pool))
    except SuspendedError as error:  # nothing is wrong with the VM: the next inspection sends its check again
        return str(error)


@shared_task(name=registry.MARK_VM, base=PoolTask)
def mark_vm(vm: str, pool: str) -> str:
    return str(marking.run(pool_context(), vm, pool))


@shared_task(name=registry.DESTROY_VM, base=PoolTask, bind=True)
def destroy_vm(self: Task, vm: str, pool: str) -> str:
    return str(destroy.run(pool_context(), vm, pool, self.request.id))


@shared_task(name=registry.CREATE_DISK, base=PoolTask, bind=True)
def create_disk(self: Task, vm: str, pool: str, size: str) -> str:
    return _carry_out(self, VmOrder(Step.CREATE_DISK, vm, size), pool)


@shared_task(name=registry.CREATE_SNAPSHOT, base=PoolTask, bind=True)
def create_snapshot(self: Task, vm: str, pool: str, snapshot: str) -> str:
    return _carry_out(self, VmOrder(Step.CREATE_SNAPSHOT, vm, snapshot), pool)


@shared_task(name=registry.REVERT_SNAPSHOT, base=PoolTask, bind=True)
def revert_snapshot(self: Task, vm: str, pool: str, snapshot: str) -> str:
    return _carry_out(self, VmOrder(Step.REVERT_SNAPSHOT, vm, snapshot), pool)


def _carry_out(task: Task, order: VmOrder, pool: str) -> str:
    return str(carry_out.run(pool_context(), order, pool, f"{task.request.id}/{task.request.retries}"))
