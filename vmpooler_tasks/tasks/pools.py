"""The pool workers' tasks. With `manage_pools` off they do nothing, and say so."""

from collections.abc import Callable, Iterable
from typing import Any

from celery import current_app, shared_task

from vmpooler_tasks.errors import ProviderError, SuspendedError
from vmpooler_tasks.jobs.pools import check_pending, check_ready, check_running, clone, destroy, inspect
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.celery.base import Task
from vmpooler_tasks.tasks.celery.configuration import settings
from vmpooler_tasks.tasks.messages import waiting
from vmpooler_tasks.tasks.other_manager import guard
from vmpooler_tasks.tasks.pool_manager import manager

MOST_WAITING = 5_000
"""Checks that may wait before no more are handed out: the workers have enough to do."""

OTHER_MANAGER = "another pool manager is at work"

_TASKS = {
    Step.CLONE: names.CLONE_VM,
    Step.CHECK_PENDING: names.CHECK_PENDING_VM,
    Step.CHECK_READY: names.CHECK_READY_VM,
    Step.CHECK_RUNNING: names.CHECK_RUNNING_VM,
    Step.DESTROY: names.DESTROY_VM,
}
_KEPT = (Step.CLONE, Step.DESTROY)
"""Work that is planned: it is not handed out again with the next look, and so must not expire."""


class PoolTask(Task):
    """Refused where VMPooler's own manager has the pools."""

    abstract = True
    send_events = False  # they are many: Flower would show nothing else, and a clone would cost a quarter more
    throws = (ProviderError, clone.WorkerDiedError)  # what a provider does is told in a line, without a traceback

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not settings().config.manage_pools:
            return "manage_pools is off"
        if self.name != names.CHECK_POOLS and guard.refuses():
            return OTHER_MANAGER
        return super().__call__(*args, **kwargs)


def hand_out(work: Iterable[Work]) -> int:
    """Sends each piece of work to the workers; answers how many."""
    interval, count = settings().config.check_loop_delay_min, 0
    with current_app.producer_or_acquire() as producer, producer.batch():
        for count, one in enumerate(work, start=1):  # noqa: B007 - it is what is answered
            _send(_TASKS[one.step], one.as_kwargs(), producer, None if one.step in _KEPT else max(interval, 10))
    return count


def _send(task: str, kwargs: dict[str, Any], producer: Any, expires: float | None) -> None:
    current_app.send_task(
        task,
        kwargs=kwargs,
        producer=producer,
        expires=expires,
        ignore_result=True,
        queue=names.ELSEWHERE[task],
        headers={"tick": True} if expires else None,
    )


@shared_task(name=names.CHECK_POOLS, base=PoolTask)
def check_pools() -> str:
    """A look at every pool; and clones whose worker has gone are handed out anew."""
    if guard.looks():
        return OTHER_MANAGER
    hand_out(inspect.reap(manager()))
    if waiting(names.CHECK_QUEUE) > MOST_WAITING:
        return "the workers have enough to do"
    interval = settings().config.check_loop_delay_min
    with current_app.producer_or_acquire() as producer:
        for pool in settings().pools:
            _send(names.CHECK_POOL, {"pool": pool.name}, producer, interval)
    return f"{len(settings().pools)} pools"


@shared_task(name=names.CHECK_POOL, base=PoolTask)
def check_pool(pool: str) -> str:
    """A look at one pool, as in `vmpooler_tasks.jobs.pools.inspect`."""
    look = inspect.check(manager(), pool)
    count = hand_out(look.work)
    if look.trouble:
        raise look.trouble
    return "busy" if look.busy else f"{count} pieces of work"


@shared_task(name=names.PROCESS_REQUESTS, base=PoolTask)
def process_ondemand_requests() -> str:
    """A round over all on-demand requests."""
    return f"{hand_out(fulfil.run(manager()))} clones"


@shared_task(name=names.CLONE_VM, base=PoolTask, bind=True)
def clone_vm(self: Task, vm: str, pool: str, request_id: str | None = None) -> str:
    return clone.run(manager(), vm, pool, f"{self.request.id}/{self.request.retries}", request_id)


@shared_task(name=names.CHECK_PENDING_VM, base=PoolTask)
def check_pending_vm(vm: str, pool: str) -> str:
    return _look(check_pending.check, vm, pool)


@shared_task(name=names.CHECK_READY_VM, base=PoolTask)
def check_ready_vm(vm: str, pool: str) -> str:
    return _look(check_ready.check, vm, pool)


@shared_task(name=names.CHECK_RUNNING_VM, base=PoolTask)
def check_running_vm(vm: str, pool: str) -> str:
    return _look(check_running.check, vm, pool)


def _look(check: Callable[[PoolContext, str, str], str], vm: str, pool: str) -> str:
    try:
        return check(manager(), vm, pool)
    except SuspendedError as error:  # nothing is wrong with the VM: it is looked at later
        return str(error)


@shared_task(name=names.DESTROY_VM, base=PoolTask, bind=True)
def destroy_vm(self: Task, vm: str, pool: str) -> str:
    return destroy.run(manager(), vm, pool, self.request.id)
