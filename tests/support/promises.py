"""Share the guide's log lines and its example of a failure between the tests of the operator guide."""

import json
from typing import Any

from tests.support.fleet import record_processes
from tests.support.world import POOL, World, settings
from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.jobs.purge import cycle as purge_cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.model.deadletters.entry import RequestOrigin, failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store.deadletters.push import push
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits

MINUTE, HOUR, DAY = 60, 3600, 86400
UBUNTU = "ubuntu-2004-x86_64"
BOTH_POOLS = (POOL, UBUNTU)

# Verbatim from the guide.
WOULD_PURGE = "[*] [purge][dry-run] Would purge stale pending VM 'pooler-happy-elephant' (age: 3650s, max: 600s)"
STARTING = "[*] [purge] Starting stale queue entry purge cycle"
PURGED_PENDING = "[!] [purge] Purged stale pending VM 'pooler-sad-dog' from 'centos-7-x86_64' (age: 7250s)"
MOVED_READY = "[!] [purge] Moved stale ready VM 'pooler-angry-cat' from 'ubuntu-2004-x86_64' to completed (age: 90000s)"
COMPLETED = "[*] [purge] Completed purge cycle in 2.34s: 12 entries purged"
HEALTH_STATUS = "[*] [health] Status: HEALTHY | Queues: P=45 R=230 C=12 | DLQ=25 | Stuck=3 | Orphaned=5"
STATUS_BEGINS = "[*] [health] Status:"
PURGE_DIED = "[!] [queue_purge] worker thread died"
HEALTH_DIED = "[!] [health_check] worker thread died"

LOG_LINES = {
    WOULD_PURGE,
    STARTING,
    PURGED_PENDING,
    MOVED_READY,
    COMPLETED,
    HEALTH_STATUS,
    STATUS_BEGINS,
    PURGE_DIED,
    HEALTH_DIED,
}

WEEK = DeadLetterLimits(ttl_seconds=168 * HOUR, max_entries=10_000)


def run_purge(world: World, chosen: Settings | None = None) -> PurgeReport:
    return purge_cycle.run(world.db, chosen or settings(), world.clock, PurgeOptions(who="test"))


def run_health(world: World, chosen: Settings | None = None) -> HealthReport:
    """Check as beat requests it, with a worker and a beat alive."""
    record_processes(world.db)
    report = health_check.run(world.db, chosen or settings(), world.clock)
    assert report is not None
    return report


def fail(
    world: World,
    vm: str = "pooler-happy-elephant",
    queue: DeadLetterQueue = DeadLetterQueue.PENDING,
    limits: DeadLetterLimits = WEEK,
) -> None:
    """Fail the VM of the guide's example, or another one in the same way."""
    dead_letter = failed_vm(
        queue=queue,
        vm=vm.encode(),
        pool=POOL,
        error_class="StandardError",
        error_message="template centos-7-template does not exist",
        now=world.now,
        origin=RequestOrigin(request_id=b"req-abc123", pool_alias=b"centos-7", retry_count=3),
        identity=str(world.now).encode(),
    )
    push(world.db, queue, dead_letter, now=world.now, limits=limits)


def dead_letters(world: World, queue: str = "pending") -> list[dict[str, Any]]:
    return [json.loads(member) for member in world.client.zrange(f"vmpooler__dlq__{queue}", 0, -1)]


def configured(block: str) -> Settings:
    return load_settings({"VMPOOLER_CONFIG": block})
