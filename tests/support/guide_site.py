"""Installations with the guide's own configuration, in the states that its commands are about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support import guide
from tests.support.fleet import let_run
from tests.support.guide import Command
from tests.support.processes import Installation
from tests.support.shell import Shell
from tests.support.world import POOL, World
from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.purge import cycle as purge_cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.model.deadletters.entry import RequestOrigin, failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store.deadletters.push import push
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits
from vmpooler_tasks.store.vmpooler.config import publish_config

OTHER_POOL = "ubuntu-2004-x86_64"
REQUEST = "req-abc123"
MINUTE, HOUR, DAY = 60, 3600, 86400

DLQ = "1. Dead-Letter Queue (DLQ)"
HEALTH = "3. Health Checks"
FAILED_REQUEST = "Scenario 1: Investigating Failed VM Requests"
BACKUP = "Scenario 2: Queue Backup"
HIGH_DLQ = "Scenario 3: High DLQ Size"
CHANGED_LIMITS = "Scenario 4: Testing Configuration Changes"
NO_DEAD_LETTERS = "DLQ Not Capturing Failures"
NO_HEALTH = "Health Check Not Updating"
NO_METRICS = "Metrics Not Appearing"

MISSING_TEMPLATE = "template centos-7-template does not exist"
CLONE_ERRORS = [MISSING_TEMPLATE] * 6 + ["permission denied"] * 4 + ["failed to obtain IP"] * 2
"""Oldest first, a minute apart; the guide's request failed last of those without a template."""

FOLLOWED = Command(CHANGED_LIMITS, 'tail -f vmpooler.log | grep "purge.*dry-run"')
"""It prints until it is ended, so that it has a test of its own."""

Fields = Mapping[str, Any]

LIMITS = DeadLetterLimits(ttl_seconds=168 * HOUR, max_entries=10_000)


@dataclass
class Site:
    """An installation with the guide's configuration; `dead_letters`: what its queues should hold."""

    installation: Installation
    shell: Shell
    world: World
    dead_letters: dict[DeadLetterQueue, list[Fields]] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return load_settings(self.installation.environment)

    def fail(self, queue: DeadLetterQueue, vm: str, error: str, *, request: str | None = None) -> None:
        """A VM fails now, as the clone and check tasks report it."""
        names = {"request_id": request.encode(), "pool_alias": b"centos-7"} if request else {}
        dead_letter = failed_vm(
            queue=queue,
            vm=vm.encode(),
            pool=POOL,
            error_class="StandardError",
            error_message=error,
            now=self.world.now,
            identity=vm.encode(),
            origin=RequestOrigin(retry_count=3, **names),
        )
        push(self.world.db, queue, dead_letter, now=self.world.now, limits=LIMITS)
        self._expect(queue, vm, "StandardError", error, request, retry_count=3)

    def purge(self, vm: str, age: int, *, request: str | None = None) -> None:
        """A VM of this age is in pending now, and a purge cycle takes it."""
        origin = {"request_id": request, "pool_alias": "centos-7"} if request else {}
        self.world.vm(Queue.PENDING, vm, age, **origin)
        purge_cycle.run(self.world.db, self.settings, self.world.clock, PurgeOptions(who="test"))
        reason = f"Stale pending VM (age: {age}s > max: 7200s)"
        self._expect(DeadLetterQueue.PENDING, vm, "Purge", reason, request, retry_count=0)

    def _expect(
        self, queue: DeadLetterQueue, vm: str, error_class: str, error: str, request: str | None, retry_count: int
    ) -> None:
        """The guide's fields, in its order."""
        self.dead_letters.setdefault(queue, []).append(
            {
                "vm": vm,
                "pool": POOL,
                "queue_from": str(queue),
                "error_class": error_class,
                "error_message": error,
                "failed_at": iso_utc(self.world.now),
                "retry_count": retry_count,
                **({"request_id": request, "pool_alias": "centos-7"} if request else {}),
                "id": "…",
            }
        )

    def check_health(self) -> None:
        """Check as beat requests it, with a worker and a beat alive."""
        let_run(self.world)
        assert health_check.run(self.world.db, self.settings, self.world.clock) is not None


def guides_configuration(**changed: Any) -> dict[str, Any]:
    """The guide's own three "Configuration" blocks, and two pools."""
    told: dict[str, Any] = {}
    for section, block in guide.configurations(guide.TEXT):
        if section in {DLQ, "2. Auto-Purge", HEALTH}:
            told = {**guide.options(block), **told}  # a section's first block is its configuration
    pools = [{"name": POOL, "alias": ["centos-7"], "size": 2}, {"name": OTHER_POOL, "size": 2}]
    return {":config": {**told, **changed}, ":pools": pools}


def quiet(site: Site) -> None:
    """Some failures, of which two were purged hours and minutes ago, and queues in good order."""
    world, now = site.world, site.world.now
    world.now = now - 2 * HOUR
    site.purge("pooler-sad-dog", 7250)
    for place, error in enumerate(CLONE_ERRORS):
        world.now = now - (30 - place) * MINUTE
        is_the_request = error == MISSING_TEMPLATE != CLONE_ERRORS[place + 1]
        site.fail(DeadLetterQueue.CLONE, f"pooler-clone-{place}", error, request=REQUEST if is_the_request else None)
    site.fail(DeadLetterQueue.READY, "pooler-misty-otter", "timeout: größer als 5 s")
    site.fail(DeadLetterQueue.TASKS, "pooler-calm-gecko", "MemoryError: ")
    world.now = now - 10 * MINUTE
    site.purge("pooler-happy-elephant", 7300, request=REQUEST)
    world.now = now
    for queue, pool, ages in (
        (Queue.PENDING, POOL, (300, 900)),
        (Queue.READY, POOL, (100, 200, 600)),
        (Queue.READY, OTHER_POOL, (4000,)),
        (Queue.COMPLETED, OTHER_POOL, (60,)),
    ):
        for age in ages:
            world.vm(queue, f"pooler-{queue}-{age}", age, pool)
    world.vm(None, "pooler-forgotten-yak", 3 * DAY)
    world.client.set("vmpooler__tasks__clone", 2)
    site.check_health()
    publish_config(world.db, site.settings.published())


QUIET_METRICS = {
    "queues": {
        POOL: {
            "pending": {"size": 2, "oldest_age": 900, "avg_age": 600, "stuck_count": 0},
            "ready": {"size": 3, "oldest_age": 600, "avg_age": 300},
            "completed": {"size": 0},
        },
        OTHER_POOL: {
            "pending": {"size": 0, "oldest_age": 0, "avg_age": 0, "stuck_count": 0},
            "ready": {"size": 1, "oldest_age": 4000, "avg_age": 4000},
            "completed": {"size": 1},
        },
        "dlq": {"pending": {"size": 2}, "clone": {"size": 12}, "ready": {"size": 1}, "tasks": {"size": 1}},
    },
    "tasks": {"clone": {"active": 2}, "ondemand": {"active": 0, "pending": 0}},
    "errors": {"dlq_total_size": 16, "stuck_vm_count": 0, "orphaned_metadata_count": 1},
}


def backed_up(site: Site) -> None:
    """VMs that do not get ready: 120 pending, of which 12 are stuck. The check is the command line's."""
    for index in range(120):
        site.world.vm(Queue.PENDING, f"pooler-pending-{index}", backed_up_age(index))
    now = site.world.now
    for place in range(3):
        site.world.now = now - 3 + place
        site.fail(DeadLetterQueue.CLONE, f"pooler-clone-{place}", "failed to obtain IP")
    site.world.now = now
    let_run(site.world)
    assert site.installation.run("vmpooler-tasks", "health", status=1).startswith("DEGRADED  (checked ")


def backed_up_age(index: int) -> int:
    return 7300 + index if index < 12 else index
