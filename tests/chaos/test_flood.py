"""One pool with very many VMs to check and to destroy, and one whose clones fail, beside two pools with users.

What is set up
    Four pools of one provider, and the workers and the beat of `Procfile`. Two pools are full. The clones of `broken`
    fail each time, as if its connection broke.

What is done
    While all of them work, `flooded` gets thousands of VMs: completed ones that have to be destroyed, running and
    pending ones whose time is long over, and ready ones although its size is 0. Users take VMs of the other pools.

What must hold
    Each VM that a user takes is replaced, and the other pools are inspected, while the workers also work off the flood.
    The circuit breaker suspends `broken`, and neither the provider nor another pool. No VM is in two queues, and no
    worker ends.
"""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos.settings import times
from tests.support import failing_provider
from tests.support.deployment import start_workers_and_beat
from tests.support.inspections import wait_for_inspections
from tests.support.processes import ROOT, Installation, until
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.providers.dummy.inventory import PREFIX as INVENTORY
from vmpooler_tasks.providers.dummy.machine import Machine
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.health import progress
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.redis.chunks import chunks

SIZES = {"amber": 5, "birch": 3}
"""Pools with users → size."""

FLOODED, BROKEN, PROVIDER = "flooded", "broken", failing_provider.PARTLY_NAME
FLOOD = {
    Queue.COMPLETED: times(8_000),
    Queue.RUNNING: times(6_000),
    Queue.PENDING: times(4_000),
    Queue.READY: times(2_000),
}
"""Queue → VMs."""

ROUNDS = 8
"""Times that users take VMs of each pool."""

WORKED_OFF = 100
"""VMs of the flood that are destroyed at least. The workers go on with it, too."""

LONG_AGO = "2024-01-15 12:00:00 +0000"

CONFIG = {
    "config": {"manage_pools": True, "check_loop_delay_min": 1, "dlq_enabled": True, "task_limit": 8},
    "providers": {PROVIDER: {"clone_seconds": [0.05, 0.4], "destroy_seconds": [0.2, 0.4]}},
    "pools": [
        *({"name": pool, "size": size, "template": "one"} for pool, size in SIZES.items()),
        {"name": FLOODED, "size": 0, "template": "one"},
        {"name": BROKEN, "size": 5, "template": "transient"},
    ],
}

pytestmark = [pytest.mark.stage(name="chaos"), pytest.mark.timeout(300 + sum(FLOOD.values()) // 100)]


class Lab:
    """The workers of all pools, and what Redis shows of them."""

    def __init__(self, installation: Installation, db: Database, chance: random.Random) -> None:
        self.db, self._chance = db, chance
        self.processes = start_workers_and_beat(installation)
        until(lambda: all(map(self.is_full, SIZES)), lambda: f"the pools are full: {self.sizes()}")

    def members(self, queue: Queue, pool: str) -> set[str]:
        return {vm.decode() for vm in self.db.call("SMEMBERS", keys.queue(queue, pool))}

    def sizes(self) -> dict[str, int]:
        counts = {
            f"{queue} {pool}": self.db.call("SCARD", keys.queue(queue, pool))
            for pool in (*SIZES, FLOODED, BROKEN)
            for queue in Queue
        }
        return {place: count for place, count in counts.items() if count}

    def is_full(self, pool: str) -> bool:
        return bool(self.db.call("SCARD", keys.queue(Queue.READY, pool)) == SIZES[pool])

    def flood(self) -> None:
        """Add the VMs to the pool. The provider has all of them from the same instant, except the pending ones."""
        for queue, count in FLOOD.items():
            for page in chunks([f"flood-{queue}-{number}" for number in range(count)]):
                self._add(queue, page)

    def _add(self, queue: Queue, vms: Sequence[str]) -> None:
        stamps = {"clone": LONG_AGO, "checkout": LONG_AGO} if queue is Queue.RUNNING else {"clone": LONG_AGO}
        pipe = self.db.client.pipeline(transaction=True)
        for vm in vms:
            pipe.hset(keys.vm(vm.encode()), mapping=stamps)
        if queue is Queue.RUNNING:
            pipe.hset(keys.active(FLOODED), mapping=dict.fromkeys(vms, LONG_AGO))
        if queue is not Queue.PENDING:
            records = {vm: Machine(vm, "10.0.0.1", "host", 0, None, False).to_json() for vm in vms}
            pipe.hset(f"{INVENTORY}{FLOODED}", mapping=records)
        pipe.sadd(keys.queue(queue, FLOODED), *vms)
        pipe.execute()

    def left(self) -> int:
        """Return how many VMs of the flood are in a queue."""
        return sum(int(self.db.call("SCARD", keys.queue(queue, FLOODED))) for queue in Queue)

    def take(self, pool: str) -> str:
        """Check out a VM, as VMPooler's API does."""
        vm = self._chance.choice(sorted(self.members(Queue.READY, pool)))
        now = time.strftime("%Y-%m-%d %H:%M:%S +0000", time.gmtime())
        pipe = self.db.client.pipeline(transaction=True)
        pipe.smove(keys.queue(Queue.READY, pool), keys.queue(Queue.RUNNING, pool), vm)
        pipe.hset(keys.active(pool), vm, now)
        pipe.hset(keys.vm(vm.encode()), "checkout", now)
        assert pipe.execute()[0], f"{vm} was in ready, and is not recycled so early"
        return vm

    def suspended(self) -> set[str]:
        """Return the suspended providers and pools."""
        pools = breakers.suspended_pools(self.db, [*SIZES, FLOODED, BROKEN])
        return {one.name for one in (*breakers.suspended_providers(self.db, [PROVIDER]), *pools)}

    def doubled(self) -> list[str]:
        """Return the VMs that are in two queues at one instant."""
        pipe = self.db.client.pipeline(transaction=True)
        for pool in (*SIZES, FLOODED, BROKEN):
            for queue in Queue:
                pipe.smembers(keys.queue(queue, pool))
        counted = Counter(vm.decode() for vms in pipe.execute() for vm in vms)
        return sorted(vm for vm, count in counted.items() if count > 1)


@pytest.fixture
def lab(installation: Installation, database: Database, tmp_path: Path, chance: random.Random) -> Lab:
    packages = failing_provider.installed(tmp_path / "site")
    installation.environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), packages))
    installation.environment["VMPOOLER_CONFIG"] = json.dumps(CONFIG)
    return Lab(installation, database, chance)


def test_a_flooded_pool_and_a_broken_one_leave_the_others_their_vms(lab: Lab) -> None:
    until(lambda: BROKEN in lab.suspended(), "the pool whose clones fail is suspended")
    lab.flood()
    taken: Counter[str] = Counter()
    for number in range(ROUNDS):
        left, seconds = lab.left(), take_and_wait(lab, taken)
        print(f"round {number + 1}: {left} VMs of the flood are left; replaced after {seconds:.1f} s", flush=True)
        assert lab.suspended() == {BROKEN}
        assert lab.doubled() == []
    until(lambda: lab.left() <= sum(FLOOD.values()) - WORKED_OFF, lambda: f"the flood is worked off: {lab.sizes()}")
    assert max(taken.values()) == 1, "a VM was handed out twice"
    assert all(process.running for process in lab.processes)
    errors = progress.read(lab.db).errors
    assert {work: error for work, error in errors.items() if work != progress.inspections_of(FLOODED)} == {}
    print(f"{sum(FLOOD.values())} VMs in one pool, {len(taken)} taken of the others; at the end: {lab.sizes()}")


def take_and_wait(lab: Lab, taken: Counter[str]) -> float:
    """Take one VM of each pool. Return the seconds until all are replaced, and the pools were inspected twice."""
    started = time.monotonic()
    for pool in SIZES:
        taken[lab.take(pool)] += 1
    until(lambda: all(map(lab.is_full, SIZES)), lambda: f"the VMs are replaced: {lab.sizes()}")
    seconds = time.monotonic() - started
    wait_for_inspections(lab.db, *SIZES, times=2)
    return seconds
