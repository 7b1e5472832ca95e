"""Workers that are killed, and servers that refuse writes, in the middle of a purge cycle: nothing lost or doubled."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.reference import vmpooler_state
from tests.support import servers
from tests.support.failing_tasks import PREFIX
from tests.support.messages import QUEUE, message, send, waiting
from tests.support.processes import Installation, Process, until
from tests.support.servers import TestServer
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.model.staleness import TIMESTAMP_FIELD
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.store.purge import state as purge_state
from vmpooler_tasks.tasks.registry import CLONE_QUEUE, HEALTH_CHECK, PURGE

pytestmark = [pytest.mark.stage(name="fleet"), pytest.mark.slow(seconds=90)]

POOLS = [f"pool-{number}" for number in range(4)]
VMS = 20_000
MAX_AGE = {Queue.PENDING: 7200, Queue.READY: 86400, Queue.COMPLETED: 3600}
THRESHOLDS = (
    "pending_queue_max",
    "ready_queue_max",
    "dlq_max_warning",
    "dlq_max_critical",
    "stuck_vm_max_warning",
    "stuck_vm_max_critical",
)
"""Out of reach, so that the health status is about the purge alone."""

HEIRS_QUEUE = CLONE_QUEUE
"""The queue of a worker that does not get the cycles of the other."""

SKIPPED = "[*] [purge] Skipped purge cycle: another one is running"
FAILED = "[!] [purge] Failed during purge cycle"


class Site:
    """A large installation. What a purge has to take is known beforehand."""

    def __init__(self, server: TestServer, installation: Installation) -> None:
        self.installation, self.db = installation, Database(server.url)
        installation.configure(*POOLS, dlq_max_entries=VMS, health_thresholds=dict.fromkeys(THRESHOLDS, VMS))

    def fill(self, seed: int) -> None:
        now = float(self.db.call("TIME")[0])
        state = vmpooler_state.gen_bench(  # type: ignore[no-untyped-call]
            seed, POOLS, VMS, now, stale=0.3
        )
        vmpooler_state.load(self.db.client, state.entries())  # type: ignore[no-untyped-call]
        self.before = {queue: self.members(queue) for queue in MAX_AGE}
        self.stale = {
            queue: {vm for vm in self.before[queue] if now - since(state.d[f"vmpooler__vm__{vm}"], queue) > most}
            for queue, most in MAX_AGE.items()
        }
        in_queues = set.union(*self.before.values(), self.members(Queue.RUNNING))
        self.orphans = {key.removeprefix("vmpooler__vm__") for key in state.d if "__vm__" in key} - in_queues

    def members(self, queue: Queue) -> set[str]:
        return {vm.decode() for pool in POOLS for vm in self.db.call("SMEMBERS", keys.queue(queue, pool))}

    def counted(self, what: str) -> int:
        """Return what the counters say was purged, of all pools together."""
        counters: dict[bytes, bytes] = self.db.client.hgetall(keys.COUNTERS)
        return sum(int(count) for name, count in counters.items() if name.decode().startswith(what))

    def order(self, task: str = PURGE, *args: Any, queue: str = QUEUE) -> str:
        """Send a task to the workers of a queue. Return what its log lines contain."""
        entry = message(task, *args)
        send(self.db, entry, queue)
        return f"{task}[{entry['headers']['id']}]"

    def health(self, worker: Process, queue: str = QUEUE) -> set[str]:
        """Return the reasons that a check on the worker of this queue recorded."""
        worker.says(f"{self.order(HEALTH_CHECK, queue=queue)} succeeded")
        return reasons(self.db)

    def in_mid_cycle(self, worker: Process, share: float, blow: Callable[[], None]) -> None:
        """Strike when this share of a cycle's work is done. Start again if the cycle ended before the blow."""
        while True:
            left = sum(len(self.members(queue) & self.stale[queue]) for queue in MAX_AGE)
            self.order()
            until(partial(self._has_counted, self.counted("purged:") + share * left), "a cycle is under way", pause=0)
            blow()
            state = purge_state.read(self.db)
            if state.failure or not state.finished or state.finished < (state.started or 0):
                return
            self.fill(seed=2)
            if not worker.running:
                worker.start().says(" ready.")

    def _has_counted(self, target: float) -> bool:
        return self.counted("purged:") >= target

    def check(self) -> None:
        """Each entry is where it was, or where a purge puts it, exactly once; and each was counted once."""
        now = {queue: self.members(queue) for queue in MAX_AGE}
        gone = self.before[Queue.PENDING] - now[Queue.PENDING]
        dead_letters = dead_letters_by_vm(self.db)
        assert set(dead_letters) == gone <= self.stale[Queue.PENDING]
        assert set(dead_letters.values()) <= {1}
        assert self.counted("purged:pending:") == self.counted("dead_letters:pending") == len(gone)

        moved = self.before[Queue.READY] - now[Queue.READY]
        assert moved <= self.stale[Queue.READY]
        assert moved == now[Queue.COMPLETED] - self.before[Queue.COMPLETED]
        assert self.counted("purged:ready:") == len(moved)

        removed = self.before[Queue.COMPLETED] - now[Queue.COMPLETED]
        assert removed <= self.stale[Queue.COMPLETED]
        assert self.counted("purged:completed:") == len(removed)
        assert self.counted(f"purged:{PurgeTarget.ORPHANED}") >= len(self.expiring())

    def expiring(self) -> set[str]:
        """The orphans whose metadata expires within the hour."""
        return {vm for vm in self.orphans if 0 < self.db.call("TTL", keys.vm(vm.encode())) <= 3600}

    def check_that_all_is_done(self) -> None:
        self.check()
        for queue, stale in self.stale.items():
            assert not stale & self.members(queue)
        assert self.expiring() == self.orphans

    def free_the_lock(self) -> None:
        """A killed owner's lock frees itself after seconds, by the server's clock, which no test can move."""
        self.db.call("PEXPIRE", keys.PURGE_LOCK, 1)
        until(lambda: not self.db.call("EXISTS", keys.PURGE_LOCK), "the lock has expired")


def since(metadata: dict[str, str], queue: Queue) -> float:
    stamp = parse_time(metadata[TIMESTAMP_FIELD[queue].decode()].encode())
    assert stamp is not None
    return stamp.timestamp()


def dead_letters_by_vm(db: Database) -> Counter[str]:
    raws = db.call("ZRANGE", keys.dead_letters(DeadLetterQueue.PENDING), 0, -1)
    return Counter(json.loads(raw)["vm"] for raw in raws)


def reasons(db: Database) -> set[str]:
    return {reason["code"] for reason in json.loads(health_record.read_status(db)["reasons"])}


@pytest.fixture(params=["valkey"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with servers.running(request.param, tmp_path / "server") as server, Installation(server.url, tmp_path) as mine:
        own = Site(server, mine)
        own.fill(seed=1)
        yield own
        own.db.close()


on_either = pytest.mark.parametrize("site", servers.KINDS, indirect=True)
"""What a server refuses, and how it says so, may differ between the two."""


def test_a_cycle_that_is_killed_again_and_again_is_finished_by_the_next(site: Site) -> None:
    heir = site.installation.worker("-Q", HEIRS_QUEUE, name="heir")  # it is ready before the lock can expire
    for number, share in enumerate((0.1, 0.4, 0.7), 1):
        worker = site.installation.worker()
        site.in_mid_cycle(worker, share, worker.kill)
        heir.says(f"{site.order(queue=HEIRS_QUEUE)} succeeded").says(SKIPPED, times=number)
        site.check()

        site.free_the_lock()
        assert "purge_unfinished" in site.health(heir, HEIRS_QUEUE)
    heir.kill()

    last = site.installation.worker()
    last.says(f"{site.order()} succeeded")
    site.check_that_all_is_done()
    assert not site.health(last) & {"purge_unfinished", "purge_failed"}


def test_a_killed_workers_cycle_is_delivered_to_another(site: Site) -> None:
    site.installation.deploy('broker_transport_options |= {"visibility_timeout": 2, "unacked_restore_interval": 1}')
    worker = site.installation.worker()
    site.in_mid_cycle(worker, 0.5, worker.kill)
    site.free_the_lock()
    site.installation.worker(name="heir").says("[*] [purge] Completed purge cycle")
    site.check_that_all_is_done()
    until(lambda: waiting(site.db) == 0, "the message is acknowledged")


@on_either
def test_out_of_memory_in_mid_cycle_fails_it_and_the_next_one_works(site: Site) -> None:
    worker = site.installation.worker()
    site.in_mid_cycle(worker, 0.3, lambda: site.db.call("CONFIG", "SET", "maxmemory", "1"))
    worker.says(FAILED)
    until(lambda: purge_state.read(site.db).failure, "the failure is recorded although memory is out")
    site.check()
    assert site.installation.run("vmpooler-tasks", "health", "--json", status=2).count('"purge_failed"') == 1
    assert worker.running

    site.db.call("CONFIG", "SET", "maxmemory", "0")
    worker.says(f"{site.order()} succeeded")
    site.check_that_all_is_done()
    assert "purge_failed" not in site.health(worker)


@on_either
def test_a_whole_cycle_without_memory_is_said_kept_and_recorded(site: Site) -> None:
    worker = site.installation.worker(tasks=PREFIX)
    gate = site.installation.folder / "gate"
    site.order(f"{PREFIX}.wait_for_file", str(gate))  # the others wait behind it: to put them there needs memory
    cycle, check, last = site.order(), site.order(HEALTH_CHECK), site.order(f"{PREFIX}.succeed")
    site.db.call("CONFIG", "SET", "maxmemory", "1")
    gate.touch()
    worker.says(FAILED).says(f"{check} succeeded").says(f"{last} succeeded")
    assert f"{cycle} succeeded" not in worker.log
    assert "purge_failed" in reasons(site.db)
    dead_letters = [json.loads(raw) for raw in site.db.call("ZRANGE", keys.dead_letters(DeadLetterQueue.TASKS), 0, -1)]
    assert [(dead_letter["task"], dead_letter["error_class"]) for dead_letter in dead_letters] == [
        (PURGE, "StoreRefusedError")
    ]
    until(lambda: waiting(site.db) == 0, "what was done is acknowledged")
    assert site.counted("purged:") == 0

    site.db.call("CONFIG", "SET", "maxmemory", "0")
    worker.says(f"{site.order()} succeeded")
    site.check_that_all_is_done()


REFUSALS = {
    "a replica without its primary": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "too few replicas": (("CONFIG", "SET", "min-replicas-to-write", 1), ("CONFIG", "SET", "min-replicas-to-write", 0)),
}


@on_either
@pytest.mark.parametrize("why", REFUSALS)
def test_a_server_that_takes_no_writes_in_mid_cycle_fails_it_and_the_next_one_works(site: Site, why: str) -> None:
    refuse, accept = REFUSALS[why]
    worker = site.installation.worker()
    site.in_mid_cycle(worker, 0.3, lambda: site.db.call(*refuse))
    worker.says(FAILED).says("The failure could not be recorded")
    site.check()
    verdict = json.loads(site.installation.run("vmpooler-tasks", "health", "--json", status=2))
    assert "not_recorded" in [reason["code"] for reason in verdict["reasons"]]
    assert worker.running

    site.db.call(*accept)
    site.free_the_lock()
    assert "purge_unfinished" in site.health(worker)
    worker.says(f"{site.order()} succeeded")
    site.check_that_all_is_done()
    assert not site.health(worker) & {"purge_unfinished", "purge_failed"}
