"""The tasks by name, and where each goes."""

from vmpooler_tasks.model.names import WORK_QUEUES
from vmpooler_tasks.model.redrive import OwnTasks

PURGE = "vmpooler_tasks.purge_stale_entries"
HEALTH_CHECK = "vmpooler_tasks.run_health_check"
CHECK_POOLS = "vmpooler_tasks.check_pools"
CHECK_POOL = "vmpooler_tasks.check_pool"
CLONE_VM = "vmpooler_tasks.clone_vm"
CHECK_PENDING_VM = "vmpooler_tasks.check_pending_vm"
CHECK_READY_VM = "vmpooler_tasks.check_ready_vm"
CHECK_RUNNING_VM = "vmpooler_tasks.check_running_vm"
DESTROY_VM = "vmpooler_tasks.destroy_vm"
PROCESS_REQUESTS = "vmpooler_tasks.process_ondemand_requests"
REDRIVE = "vmpooler_tasks.redrive"

CLONE_QUEUE, CHECK_QUEUE, DESTROY_QUEUE, MAINTENANCE_QUEUE = QUEUES = WORK_QUEUES

ELSEWHERE = {
    CLONE_VM: CLONE_QUEUE,
    DESTROY_VM: DESTROY_QUEUE,
    **dict.fromkeys((CHECK_POOL, CHECK_PENDING_VM, CHECK_READY_VM, CHECK_RUNNING_VM), CHECK_QUEUE),
}
"""Tasks that do not go to the maintenance queue."""

OWN = OwnTasks(
    names=frozenset(
        {
            PURGE,
            HEALTH_CHECK,
            CHECK_POOLS,
            CHECK_POOL,
            CLONE_VM,
            CHECK_PENDING_VM,
            CHECK_READY_VM,
            CHECK_RUNNING_VM,
            DESTROY_VM,
            PROCESS_REQUESTS,
            REDRIVE,
        }
    ),
    repeated=frozenset(
        {
            CHECK_POOLS,
            CHECK_POOL,
            PROCESS_REQUESTS,
            CHECK_PENDING_VM,
            CHECK_READY_VM,
            CHECK_RUNNING_VM,
        }
    ),
    destroy=DESTROY_VM,
)
"""What a redrive knows of them."""
