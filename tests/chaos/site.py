"""The installation that the scenarios damage, its users, and what Redis shows of it."""

import json
import os
import random
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from tests.support.processes import Installation, Process, until
from tests.support.servers import TestServer
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.providers.dummy.inventory import PREFIX as INVENTORY
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.keys import POOL_SLOTS, REQUEST_SLOTS
from vmpooler_tasks.tasks import registry as names

POOLS = {"amber": 5, "birch": 3}
"""Pool → size."""

CLONE_SECONDS = (0.05, 0.4)
KEPT_SECONDS = 0.5
"""The longest time for which a user keeps a VM."""

QUIET_SECONDS = 120.0
"""Until everything has come to rest; strays are found after ten seconds, messages after the visibility timeout."""

VISIBILITY_SECONDS = 5
VM_DEAD_LETTERS = (DeadLetterQueue.CLONE, DeadLetterQueue.PENDING, DeadLetterQueue.READY)

CONFIG: Mapping[str, Any] = {
    "config": {
        "manage_pools": True,
        "dlq_enabled": True,
        "check_loop_delay_min": 0.5,
        "lease_seconds": 1,
        "task_limit": 8,
        "breaker_failures": 10_000,
        "prefix": "chaos-",
    },
    "providers": {
        "dummy": {
            "clone_seconds": CLONE_SECONDS,
            "destroy_seconds": [0, 0.2],
            "failures": {"create": {"transient": 0.03, "permanent": 0.03}, "destroy": {"transient": 0.03}},
        },
    },
    "pools": [{"name": name, "size": size, "template": "one"} for name, size in POOLS.items()],
}

CELERY = f"""
broker_transport_options |= {{
    "visibility_timeout": {VISIBILITY_SECONDS}, "unacked_restore_interval": 1,
    "unacked_mutex_expire": {VISIBILITY_SECONDS},
}}
worker_concurrency = 4
"""
"""Messages of a dead worker soon come again, also those that it was just about to restore for another one."""

CLONE_QUEUES = ("-Q", f"{names.CLONE_QUEUE},{names.DESTROY_QUEUE}")
Options = tuple[str, ...]
THREADS: Options = ("-P", "threads", "-c", "100")
CHECK_QUEUES = ("-Q", f"{names.CHECK_QUEUE},{names.MAINTENANCE_QUEUE}")


@dataclass(frozen=True)
class Seen:
    """All queues of all pools, the provider and the clones in flight, at one instant."""

    queues: Mapping[tuple[str, Queue], set[str]]
    inventory: set[str]
    slots: int
    counters: int

    def queue(self, *queues: Queue, pool: str | None = None) -> set[str]:
        places = (vms for (home, queue), vms in self.queues.items() if queue in queues and pool in {None, home})
        return set().union(*places)

    @property
    def doubled(self) -> list[str]:
        """The VMs that are in two queues."""
        counted = Counter(vm for vms in self.queues.values() for vm in vms)
        return sorted(vm for vm, count in counted.items() if count > 1)

    @property
    def is_quiet(self) -> bool:
        return (
            self.inventory == self.queue(*Queue) == self.queue(Queue.READY, Queue.RUNNING)
            and all(len(self.queue(Queue.READY, pool=pool)) == size for pool, size in POOLS.items())
            and self.slots == self.counters == 0
        )

    def __str__(self) -> str:
        sizes = {f"{queue} {pool}": len(vms) for (pool, queue), vms in self.queues.items() if vms}
        strays, missing = sorted(self.inventory - self.queue(*Queue)), sorted(self.queue(*Queue) - self.inventory)
        return f"{sizes}, slots {self.slots}, counters {self.counters}; in no queue: {strays}, not there: {missing}"


class Users(threading.Thread):
    """They take each VM that is ready at once, and return it a moment later."""

    def __init__(self, db: Database, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._db, self._chance, self._end = db, chance, threading.Event()
        self.taken: Counter[str] = Counter()

    def run(self) -> None:
        kept: deque[tuple[float, str, str]] = deque()
        while not self._end.wait(0.03):
            with suppress(VmpoolerTasksError):  # Redis is away: they come again
                for pool in POOLS:
                    self._take(pool, kept)
                while kept and kept[0][0] < time.monotonic():
                    _, pool, vm = kept[0]
                    self._move(Queue.RUNNING, Queue.COMPLETED, pool, vm)
                    kept.popleft()

    def _take(self, pool: str, kept: deque[tuple[float, str, str]]) -> None:
        for raw in self._db.call("SMEMBERS", keys.queue(Queue.READY, pool)):
            vm = raw.decode()
            if self._move(Queue.READY, Queue.RUNNING, pool, vm):
                self.taken[vm] += 1
                kept.append((time.monotonic() + self._chance.uniform(0, KEPT_SECONDS), pool, vm))
                now = time.strftime("%Y-%m-%d %H:%M:%S +0000", time.gmtime())
                self._db.call("HSET", keys.active(pool), vm, now)
                self._db.call("HSET", keys.vm(raw), "checkout", now)

    def _move(self, origin: Queue, to: Queue, pool: str, vm: str) -> bool:
        return bool(self._db.call("SMOVE", keys.queue(origin, pool), keys.queue(to, pool), vm))

    def stop(self) -> None:
        self._end.set()
        self.join()
        self._db.close()


class Site:
    """Its processes run within the `with` block, and are killed at its end."""

    def __init__(
        self,
        server: TestServer,
        folder: Path,
        chance: random.Random,
        *,
        threads: Options = THREADS,
        forks: Options = (),
    ) -> None:
        """`threads` and `forks` are the options of the two workers for clones and destructions."""
        self.server, self.chance, self.db = server, chance, Database(server.url)
        self.installation = Installation(server.url, folder, json.dumps(CONFIG))
        self.installation.deploy(CELERY)
        self.threads = self._worker("threads", *CLONE_QUEUES, *threads)
        self.forks = self._worker("forks", *CLONE_QUEUES, *forks)
        self.checker = self._worker("checker", *CHECK_QUEUES, "-P", "threads")
        self.beat = self.installation.celery("beat", "--loglevel", "INFO", name="beat")
        self.users = Users(Database(server.url), random.Random(chance.random()))
        self.struck: Counter[str] = Counter()
        self._started_at = time.monotonic()
        self._last_fence = 0

    def _worker(self, name: str, *options: str) -> Process:
        start = ("worker", "--loglevel", "INFO", "-n", f"{name}@%h")
        return self.installation.celery(*start, *options, name=name)

    def __enter__(self) -> Self:
        for process in (*self.workers, self.beat):
            process.start()
        for process in self.workers:
            process.says(" ready.")
        self.users.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.users.stop()
        self.installation.__exit__()
        self.db.close()

    # --- faults -------------------------------------------------------------------------------------------------------

    def strike(self) -> None:
        """Kill something, mostly in the middle of a clone, and start it again."""
        victims = {self.kill_threads: 5, self.kill_forks: 2, self.kill_child: 5, self.kill_checker: 1}
        (blow,) = self.chance.choices(list(victims), list(victims.values()))
        pause = self.chance.uniform(0, CLONE_SECONDS[1])
        self.wait_for_clones()
        time.sleep(pause)  # the instant of the blow is what is to be random
        blow()
        self._struck(blow.__name__)

    def wait_for_clones(self) -> None:
        until(self._is_cloning, lambda: f"a clone is under way: {self.snapshot()}", QUIET_SECONDS)

    def _is_cloning(self) -> bool:
        """Return whether a clone runs that started after the last kill: clones that a dead worker held do not count."""
        self.see_that_nothing_is_doubled()
        fences = [self.db.call("HGET", keys.work(vm), "fence") for vm in self.db.call("ZRANGE", POOL_SLOTS.key, 0, -1)]
        return any(int(fence or 0) > self._last_fence for fence in fences)

    @property
    def workers(self) -> tuple[Process, ...]:
        return self.threads, self.forks, self.checker

    def _struck(self, what: str) -> None:
        self.struck[what] += 1
        self._last_fence = int(self.db.call("GET", keys.FENCES) or 0)

    def kill_threads(self) -> None:
        self.threads.kill()
        self.threads.start()

    def kill_forks(self) -> None:
        self.forks.kill()
        self.forks.start()

    def kill_checker(self) -> None:
        self.checker.kill()
        self.checker.start()

    def kill_child(self) -> None:
        """Kill one of the processes that a forking worker works with."""
        assert self.forks.process is not None
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.forks.process.pid).children()
            if children:
                self.chance.choice(children).kill()

    def kill_redis(self, seconds_down: float) -> None:
        self.server.kill()
        time.sleep(seconds_down)
        self.server.start()
        self._struck("kill_redis")

    def freeze_redis(self, seconds: float) -> None:
        assert self.server.process is not None
        os.kill(self.server.process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.server.process.pid, signal.SIGCONT)
        until(self._is_reachable, "Redis is reachable again")
        self._struck("freeze_redis")

    def _is_reachable(self) -> bool:
        with suppress(VmpoolerTasksError):
            return bool(self.db.call("PING"))
        return False

    # --- what Redis shows ---------------------------------------------------------------------------------------------

    def snapshot(self) -> Seen:
        pipe = self.db.client.pipeline(transaction=True)
        places = [(pool, queue) for pool in POOLS for queue in Queue]
        for pool, queue in places:
            pipe.smembers(keys.queue(queue, pool))
        for pool in POOLS:
            pipe.hkeys(f"{INVENTORY}{pool}")
        for slots in (POOL_SLOTS, REQUEST_SLOTS):
            pipe.zcard(slots.key)
            pipe.get(slots.counter)
        replies = iter(pipe.execute())
        queues = {place: {vm.decode() for vm in next(replies)} for place in places}
        inventory = {vm.decode() for _ in POOLS for vm in next(replies)}
        one, its, two, their = replies
        return Seen(queues, inventory, one + two, int(its or 0) + int(their or 0))

    def see_that_nothing_is_doubled(self) -> None:
        assert self.snapshot().doubled == []

    def started(self) -> set[str]:
        """Return every VM that there ever was: metadata is kept for a week."""
        return {key.removeprefix(keys.VM_PREFIX).decode() for key in self.db.client.scan_iter(keys.VM_PREFIX + b"*")}

    def dead_letters(self, queue: DeadLetterQueue) -> list[dict[str, Any]]:
        return [json.loads(raw) for raw in self.db.call("ZRANGE", keys.dead_letters(queue), 0, -1)]

    def unacknowledged(self) -> int:
        """Return how many messages wait for a worker, or for the end of their task."""
        return int(self.db.call("HLEN", "unacked")) + sum(int(self.db.call("LLEN", queue)) for queue in names.QUEUES)

    def _say_unacknowledged(self) -> str:
        waiting = {queue: self.db.call("LLEN", queue) for queue in names.QUEUES}
        return f"no message is left; {waiting} wait, {self.db.call('HLEN', 'unacked')} are not acknowledged"

    # --- the end ------------------------------------------------------------------------------------------------------

    def settle(self) -> dict[str, Any]:
        """Wait until the system has recovered, and check that nothing is lost, doubled or forgotten."""
        self.users.stop()
        until(lambda: self.snapshot().is_quiet, lambda: f"all is quiet: {self.snapshot()}", QUIET_SECONDS, pause=0.2)
        self.beat.stop()
        until(lambda: not self.unacknowledged(), self._say_unacknowledged, QUIET_SECONDS)
        seen = self.snapshot()
        assert seen.is_quiet, str(seen)
        assert not seen.doubled
        assert max(self.users.taken.values()) == 1, f"handed out twice: {self.users.taken.most_common(3)}"
        self._check_ends(seen)
        return self.figures()

    def _check_ends(self, seen: Seen) -> None:
        dead_letters = {queue: Counter(entry["vm"] for entry in self.dead_letters(queue)) for queue in VM_DEAD_LETTERS}
        doubled = [vm for counted in dead_letters.values() for vm, count in counted.items() if count > 1]
        assert not doubled, f"two dead letters of one failure: {doubled}"
        reported = {vm for counted in dead_letters.values() for vm in counted}
        for vm in self.started() - seen.queue(Queue.READY, Queue.RUNNING):
            assert vm not in seen.inventory
            assert vm in reported or self._was_destroyed(vm), f"nobody knows what became of {vm}"

    def _was_destroyed(self, vm: str) -> bool:
        return bool(self.db.call("HEXISTS", keys.vm(vm.encode()), "destroy"))

    def figures(self) -> dict[str, Any]:
        seen = self.snapshot()
        errors = Counter(entry["error_class"] for queue in DeadLetterQueue for entry in self.dead_letters(queue))
        return {
            "blows": dict(self.struck),
            "started": len(self.started()),
            "used": len(self.users.taken),
            "handed out again": self.checker.log_file.read_text(encoding="utf-8").count("is handed out again"),
            "ready": len(seen.queue(Queue.READY)),
            "running": len(seen.queue(Queue.RUNNING)),
            "dead letters": {str(queue): len(self.dead_letters(queue)) for queue in DeadLetterQueue},
            "errors": dict(errors),
            "seconds": round(time.monotonic() - self._started_at, 1),
        }
