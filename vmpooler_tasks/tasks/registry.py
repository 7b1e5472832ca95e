"""The one table of tasks. Routes, log lines, events, expiry and what a redrive knows of a task are derived from it."""

from collections.abc import Mapping
from dataclasses import dataclass

from vmpooler_tasks.model.names import WORK_QUEUES
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.redrive import OwnTasks
from vmpooler_tasks.model.vm_orders import ORDERS

CLONE_QUEUE, CHECK_QUEUE, DESTROY_QUEUE, MAINTENANCE_QUEUE = QUEUES = WORK_QUEUES

PURGE = "vmpooler_tasks.purge_stale_entries"
HEALTH_CHECK = "vmpooler_tasks.run_health_check"
REDRIVE = "vmpooler_tasks.redrive"
CHECK_POOLS = "vmpooler_tasks.check_pools"
PROCESS_REQUESTS = "vmpooler_tasks.process_ondemand_requests"
CHECK_POOL = "vmpooler_tasks.check_pool"
CLONE_VM = "vmpooler_tasks.clone_vm"
CHECK_PENDING_VM = "vmpooler_tasks.check_pending_vm"
CHECK_READY_VM = "vmpooler_tasks.check_ready_vm"
CHECK_RUNNING_VM = "vmpooler_tasks.check_running_vm"
DESTROY_VM = "vmpooler_tasks.destroy_vm"
PURGE_UNCONFIGURED = "vmpooler_tasks.purge_unconfigured"
MARK_VM = "vmpooler_tasks.mark_vm"
CREATE_DISK = "vmpooler_tasks.create_disk"
CREATE_SNAPSHOT = "vmpooler_tasks.create_snapshot"
REVERT_SNAPSHOT = "vmpooler_tasks.revert_snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What the rest of the program knows of a task.

    `is_repeated`: beat or the next inspection sends it again. It expires with the next one, a late one is no failure,
    and a redrive closes its dead letter. `has_own_lines`: the job logs what it does by VM and pool, so that Celery's
    lines about each task are left out of the log, and its events out of Flower. `subject`: the arguments, in their
    order, that every log line of the task shows. `step`: the work on a VM that the task carries out. `is_editable`: a
    failed task can be run again with changed arguments, except its subject; never a task that destroys, reverts or
    redrives. `starts_once`: a run of redrives leaves the failed task out, unless a person names it by its id and
    confirms that what the user did meanwhile may be lost. `pool_list`: the argument that lists pools; an edit may only
    correct names there that are no pools.
    """

    name: str
    queue: str = MAINTENANCE_QUEUE
    is_repeated: bool = False
    has_own_lines: bool = False
    subject: tuple[str, ...] = ()
    step: Step | None = None
    is_editable: bool = False
    starts_once: bool = False
    pool_list: str = ""


_VM = ("vm", "pool", "request_id")


def _vm_check(name: str, step: Step) -> TaskSpec:
    return TaskSpec(name=name, queue=CHECK_QUEUE, is_repeated=True, has_own_lines=True, subject=_VM, step=step)


def _order(name: str, step: Step) -> TaskSpec:
    """Return an order for a running VM. Its message only says that the order waits, so the dead letter is an order."""
    spec = ORDERS[step]
    return TaskSpec(
        name=name,
        queue=CLONE_QUEUE,
        has_own_lines=True,
        subject=("vm", "pool", spec.argument),
        step=step,
        starts_once=spec.starts_once,
    )


TASKS: Mapping[str, TaskSpec] = {
    task.name: task
    for task in (
        TaskSpec(name=PURGE, is_editable=True, pool_list="pools"),
        TaskSpec(name=HEALTH_CHECK, is_editable=True),
        TaskSpec(name=REDRIVE),
        TaskSpec(name=CHECK_POOLS, is_repeated=True, has_own_lines=True),
        TaskSpec(name=PROCESS_REQUESTS, is_repeated=True, has_own_lines=True),
        TaskSpec(name=CHECK_POOL, queue=CHECK_QUEUE, is_repeated=True, has_own_lines=True, subject=("pool",)),
        TaskSpec(name=CLONE_VM, queue=CLONE_QUEUE, has_own_lines=True, subject=_VM, step=Step.CLONE),
        TaskSpec(name=PURGE_UNCONFIGURED, queue=DESTROY_QUEUE, is_repeated=True, has_own_lines=True),
        _vm_check(CHECK_PENDING_VM, Step.CHECK_PENDING),
        _vm_check(CHECK_READY_VM, Step.CHECK_READY),
        _vm_check(CHECK_RUNNING_VM, Step.CHECK_RUNNING),
        _vm_check(MARK_VM, Step.MARK),
        TaskSpec(name=DESTROY_VM, queue=DESTROY_QUEUE, has_own_lines=True, subject=_VM, step=Step.DESTROY),
        _order(CREATE_DISK, Step.CREATE_DISK),
        _order(CREATE_SNAPSHOT, Step.CREATE_SNAPSHOT),
        _order(REVERT_SNAPSHOT, Step.REVERT_SNAPSHOT),
    )
}

BY_STEP: Mapping[Step, TaskSpec] = {task.step: task for task in TASKS.values() if task.step}

REPEATED = frozenset(task.name for task in TASKS.values() if task.is_repeated)
OWN_LINES = frozenset(task.name for task in TASKS.values() if task.has_own_lines)

OWN = OwnTasks(
    names=frozenset(TASKS),
    repeated=REPEATED,
    destroy=DESTROY_VM,
    editable=frozenset(task.name for task in TASKS.values() if task.is_editable),
    pool_lists={task.name: task.pool_list for task in TASKS.values() if task.pool_list},
    orders={task.name: task.step for task in TASKS.values() if task.step and task.step in ORDERS},
    starts_once=frozenset(task.name for task in TASKS.values() if task.starts_once),
)
"""What a redrive knows of them."""


def queue_of(task: str) -> str:
    """Return the queue that a task goes to; one that is not ours goes to the maintenance queue."""
    return TASKS[task].queue if task in TASKS else MAINTENANCE_QUEUE
