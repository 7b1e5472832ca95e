"""Workers that are killed while they make instances of EC2.

What is set up
    A pool of EC2 on moto's HTTP server, whose instances are pending for a moment. A beat, and a worker for everything.
    Leases of one second. As soon as the pool is full, all its ready VMs are returned, so that clones and destructions
    are under way.

What is done
    SIGKILL to the worker with all its processes, at a random instant while a clone is under way. It is started again at
    once.

What must hold when the killing has ended
    - No instance was made twice: each name that there ever was has one instance, alive or ended.
    - No instance is lost: those that are alive are the ready VMs, and each other one has ended.
    - Every volume is attached to an instance that is alive.
    - The pool has its size, and no clone is in flight.
"""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.settings import SEED, times
from tests.support import moto_server
from tests.support.ec2_lab import ALIVE, Ec2Lab, tags_of
from tests.support.moto_server import IMAGE, REGION
from tests.support.processes import Installation, until
from tests.support.servers import TestServer
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.keys import POOL_SLOTS

KILLS = int(os.environ.get("CHAOS_KILLS", times(4)))

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(400 + 20 * KILLS)]

POOL, SIZE = "amber", 3
PENDING_SECONDS = 0.5
CLONE_SECONDS = 1.5
"""About how long a clone takes: the provider reads the state of a pending instance once a second."""

QUIET_SECONDS = 240.0
CELERY = """
broker_transport_options |= {
    "visibility_timeout": 5, "unacked_restore_interval": 1, "unacked_mutex_expire": 5,
}
"""


class Ec2Site:
    """The pool, its processes, and what Redis and EC2 show."""

    def __init__(self, lab: Ec2Lab, valkey: TestServer, folder: Path, stack: ExitStack) -> None:
        self.lab, self.db = lab, Database(valkey.url)
        stack.callback(self.db.close)
        self.installation = stack.enter_context(Installation(valkey.url, folder, json.dumps(self._configuration())))
        self.installation.environment.update(moto_server.environment())
        self.installation.deploy(CELERY)
        self.worker = self.installation.celery(
            "worker", "--loglevel", "INFO", "-P", "threads", "-c", "20", name="worker"
        )
        self.beat = self.installation.celery("beat", "--loglevel", "INFO", name="beat")
        self._last_fence = 0

    def _configuration(self) -> dict[str, object]:
        section = {"region": REGION, "endpoint_url": self.lab.server.url, "readiness": "running"}
        return {
            ":config": {
                "manage_pools": True,
                "dlq_enabled": True,
                "installation": "chaos",
                "check_loop_delay_min": 0.5,
                "lease_seconds": 1,
                "breaker_failures": 10_000,
            },
            ":providers": {":ec2": section},
            ":pools": [{"name": POOL, "template": IMAGE, "size": SIZE, "provider": "ec2"}],
        }

    def queue(self, queue: Queue) -> set[str]:
        return {vm.decode() for vm in self.db.call("SMEMBERS", keys.queue(queue, POOL))}

    def strike(self, pause: float) -> None:
        """Kill the worker in the middle of a clone, and start it again.

        First the pool fills itself: a clone whose worker dies three times is a dead letter, and its instance a stray,
        which the brake of so small a pool would hold.
        """
        until(lambda: len(self.queue(Queue.READY)) >= SIZE, lambda: f"the pool is full: {self}", QUIET_SECONDS)
        until(self._is_cloning, lambda: f"a clone is under way: {self}", QUIET_SECONDS)
        time.sleep(pause)  # the instant of the blow is what is to be random
        self.worker.kill()
        self._last_fence = int(self.db.call("GET", keys.FENCES) or 0)
        self.worker.start()

    def _is_cloning(self) -> bool:
        """Return all ready VMs, and return whether a clone runs that started after the last kill."""
        for vm in self.queue(Queue.READY):
            self.db.call("SMOVE", keys.queue(Queue.READY, POOL), keys.queue(Queue.COMPLETED, POOL), vm)
        flying = [self.db.call("HGET", keys.work(vm), "fence") for vm in self.db.call("ZRANGE", POOL_SLOTS.key, 0, -1)]
        return any(int(fence or 0) > self._last_fence for fence in flying)

    def is_quiet(self) -> bool:
        ready = self.queue(Queue.READY)
        return (
            len(ready) == SIZE
            and ready == self.alive()
            and not any(self.queue(queue) for queue in Queue if queue is not Queue.READY)
            and not self.db.call("ZCARD", POOL_SLOTS.key)
        )

    def alive(self) -> set[str]:
        return {tags_of(instance)["vm_name"] for instance in self.lab.instances(*ALIVE)}

    def __str__(self) -> str:
        queues = {str(queue): self.queue(queue) for queue in Queue}
        return f"queues {queues}, alive {self.alive()}; the worker said:\n{self.worker.log[-2000:]}"


@pytest.fixture
def ec2_site(valkey: TestServer, tmp_path: Path) -> Iterator[Ec2Site]:
    with ExitStack() as stack:
        moto = stack.enter_context(moto_server.running(tmp_path))
        moto.set_pending(PENDING_SECONDS)
        yield Ec2Site(Ec2Lab(moto, stack), valkey, tmp_path, stack)


def test_no_instance_is_made_twice_and_none_is_lost(ec2_site: Ec2Site) -> None:
    site, chance = ec2_site, random.Random(SEED)
    print(f"\nCHAOS_SEED={SEED}", flush=True)
    site.beat.start()
    site.worker.start().says(" ready.")
    for kill in range(KILLS):
        site.strike(chance.uniform(0, CLONE_SECONDS))
        print(f"kill {kill + 1}: {len(site.alive())} instances alive", flush=True)
    until(site.is_quiet, lambda: f"all is quiet: {site}", QUIET_SECONDS, pause=0.5)
    site.beat.stop()
    ever = site.lab.instances(*ALIVE, "shutting-down", "terminated")
    names = Counter(tags_of(instance)["vm_name"] for instance in ever)
    assert {name: count for name, count in names.items() if count > 1} == {}, "an instance was made twice"
    log = site.worker.log_file.read_text(encoding="utf-8")
    assert "is handed out again" in log, "nothing was under way when the worker was killed"
    attached = {attachment["InstanceId"] for volume in site.lab.volumes() for attachment in volume["Attachments"]}
    assert attached == {instance["InstanceId"] for instance in site.lab.instances(*ALIVE)}
    assert len(site.lab.volumes()) == SIZE
    print(f"{KILLS} kills: {len(names)} instances, {len(site.alive())} alive")
