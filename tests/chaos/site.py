"""The installation that the scenarios damage: its processes, its hypervisor, its users, and the faults."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from tests.chaos.books import Books, Seen, read_dead_letters, read_queues
from tests.chaos.hypervisors import AWAY, Hypervisor, as_entry
from tests.chaos.users import Users
from tests.support.ports import free_port
from tests.support.processes import Installation, Process, until
from tests.support.servers import TestServer
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.guards import brakes
from vmpooler_tasks.store.keys import POOL_SLOTS
from vmpooler_tasks.tasks import registry as names

POOLS = {"amber": 5, "birch": 3}
"""Pool → size."""

QUIET_SECONDS = 240.0
"""Until everything has come to rest; strays are found after ten seconds, messages after the visibility timeout."""

BRAKED_SECONDS = 10.0
"""How long a brake may hold VMs at the end before an operator confirms them. One without a cause ends before."""

VISIBILITY_SECONDS = 5

OPTIONS: Mapping[str, Any] = {
    "manage_pools": True,
    "dlq_enabled": True,
    "installation": "chaos",
    "check_loop_delay_min": 0.5,
    "lease_seconds": 1,
    "task_limit": 8,
    "breaker_failures": 10_000,
    "ondemand_request_ttl": 1,
    "prefix": "chaos-",
}
"""Of `:config:`."""

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


class Site:
    """Its processes run within the `with` block, and are killed at its end."""

    def __init__(
        self,
        server: TestServer,
        folder: Path,
        chance: random.Random,
        hypervisor: Hypervisor,
        *,
        threads: Options = THREADS,
        forks: Options = (),
        **options: Any,
    ) -> None:
        """`threads` and `forks` are the options of the two workers for clones and destructions."""
        self.server, self.chance, self.hypervisor = server, chance, hypervisor
        self.db, self.pools, self._options = Database(server.url), dict(POOLS), {**OPTIONS, **options}
        self.installation = Installation(server.url, folder, self.configuration())
        self.installation.environment |= {**hypervisor.environment, "WEB_PORT": str(free_port())}
        self.installation.deploy(CELERY)
        self.threads = self._worker("threads", *CLONE_QUEUES, *threads)
        self.forks = self._worker("forks", *CLONE_QUEUES, *forks)
        self.checker = self._worker("checker", *CHECK_QUEUES, "-P", "threads")
        self.beat = self.installation.celery("beat", "--loglevel", "INFO", name="beat")
        self.users = Users(Database(server.url), random.Random(chance.random()), self.pools, hypervisor)
        self.books = Books(Database(server.url), hypervisor, self.pools, self.users.ledger)
        self.struck: Counter[str] = Counter()
        self.confirmed: list[str] = []
        self._started_at = time.monotonic()
        self._last_fence = 0

    def configuration(self) -> str:
        """Return what VMPOOLER_CONFIG has, with the pools as they are now."""
        section = {self.hypervisor.name: self.hypervisor.section}
        pools = [as_entry(self.hypervisor, name, size) for name, size in self.pools.items()]
        return json.dumps({"config": self._options, "providers": section, "pools": pools})

    def _worker(self, name: str, *options: str) -> Process:
        start = ("worker", "--loglevel", "INFO", "-n", f"{name}@%h")
        return self.installation.celery(*start, *options, name=name)

    def __enter__(self) -> Self:
        for process in (*self.workers, self.beat):
            process.start()
        for process in self.workers:
            process.says(" ready.")
        self.users.start()
        self.books.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.users.close()
        self.books.close()
        self.installation.__exit__()
        self.db.close()

    # --- faults -------------------------------------------------------------------------------------------------------

    def strike(self) -> None:
        """Kill something, mostly in the middle of a clone, and start it again."""
        victims = {self.kill_threads: 5, self.kill_forks: 2, self.kill_child: 5, self.kill_checker: 1}
        (blow,) = self.chance.choices(list(victims), list(victims.values()))
        pause = self.chance.uniform(0, self.hypervisor.clone_seconds)
        self.wait_for_clones()
        time.sleep(pause)  # the instant of the blow is what is to be random
        blow()
        self._struck(blow.__name__)

    def wait_for_clones(self) -> None:
        until(self._is_cloning, lambda: f"a clone is under way: {self}", QUIET_SECONDS)

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

    # --- what is there ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Seen:
        return read_queues(self.db, tuple(self.pools))

    def __str__(self) -> str:
        seen, inventory = self.snapshot(), set(self.books.read_inventory())
        strays, missing = sorted(inventory - seen.all), sorted(seen.all - inventory)
        left = self.hypervisor.problems()
        return f"{seen}; in no queue: {strays}, not there: {missing}; {left}; brakes {brakes.read_brakes(self.db)}"

    def see_that_nothing_is_doubled(self) -> None:
        doubled, errors = self.snapshot().doubled, list(self.books.errors)
        assert doubled == [], doubled
        assert errors == [], errors

    def dead_letters(self, queue: DeadLetterQueue) -> list[dict[str, Any]]:
        return read_dead_letters(self.db, queue)

    def unacknowledged(self) -> int:
        """Return how many messages wait for a worker, or for the end of their task."""
        return int(self.db.call("HLEN", "unacked")) + sum(int(self.db.call("LLEN", queue)) for queue in names.QUEUES)

    def _say_unacknowledged(self) -> str:
        waiting = {queue: self.db.call("LLEN", queue) for queue in names.QUEUES}
        return f"no message is left; {waiting} wait, {self.db.call('HLEN', 'unacked')} are not acknowledged"

    def wait_until_served(self, *pools: str) -> float:
        """Wait until users have VMs of each of these pools (none named: of all) that were not there before.

        Return the seconds that it took.
        """
        started, known, ledger = time.monotonic(), self.books.vms | set(self.users.ledger.homes), self.users.ledger
        wanted = set(pools or self.pools)
        until(
            lambda: {home for vm, home in dict(ledger.homes).items() if vm not in known} >= wanted,
            lambda: f"users have new VMs of {sorted(wanted)}: {self}",
            QUIET_SECONDS,
        )
        return time.monotonic() - started

    # --- the end ------------------------------------------------------------------------------------------------------

    def settle(self, *, is_data_lost: bool = False) -> dict[str, Any]:
        """Wait until the system has come to rest, and check that nothing is lost, doubled or forgotten.

        An operator confirms what a brake still holds then. `is_data_lost`: see `Books.find_errors`.
        """
        self.users.stop()
        ended = time.monotonic()
        until(lambda: self._is_at_rest(ended), lambda: f"all is quiet: {self}", QUIET_SECONDS, pause=0.2)
        self.beat.stop()
        until(lambda: not self.unacknowledged(), self._say_unacknowledged, QUIET_SECONDS)
        assert self._is_quiet(), str(self)
        errors = self.books.find_errors(is_data_lost=is_data_lost)
        assert errors == [], errors  # the message of a call in an assertion is cut short
        return self.figures()

    def _is_at_rest(self, since: float) -> bool:
        with suppress(*AWAY):
            if self._is_quiet():
                return True
            if time.monotonic() > since + BRAKED_SECONDS:
                self._confirm_brakes()
        return False

    def _is_quiet(self) -> bool:
        seen = self.snapshot()
        return (
            all(len(seen.queue(Queue.READY, pool=pool)) == size for pool, size in self.pools.items())
            and seen.slots == seen.counters == 0
            and not any(self.db.call("ZCARD", key) for key in (*keys.OPEN_REQUESTS, keys.VM_ORDERS))
            and not self.db.call("SCARD", keys.DISK_ORDERS)
            and set(self.books.read_inventory()) == seen.all == seen.queue(Queue.READY, Queue.RUNNING)
            and not self.hypervisor.problems()  # what a killed worker left behind is found by the inventory
        )

    def _confirm_brakes(self) -> None:
        for pool, brake in brakes.read_brakes(self.db).items():
            if brake.is_engaged:
                self.installation.run("vmpooler-tasks", "pools", "confirm", pool, "--why", "the faults are over")
                self.confirmed.append(pool)

    def figures(self) -> dict[str, Any]:
        seen = self.snapshot()
        errors = Counter(entry["error_class"] for queue in DeadLetterQueue for entry in self.dead_letters(queue))
        ledger = self.users.ledger
        return {
            "blows": dict(self.struck),
            "started": len(self.books.started()),
            "used": len(ledger.taken),
            "requests": dict(ledger.ended),
            "disks": len(ledger.disks),
            "handed out again": self.checker.log_file.read_text(encoding="utf-8").count("is handed out again"),
            "ready": len(seen.queue(Queue.READY)),
            "running": len(seen.queue(Queue.RUNNING)),
            "dead letters": {str(queue): len(self.dead_letters(queue)) for queue in DeadLetterQueue},
            "errors": dict(errors),
            "confirmed": self.confirmed,
            "seconds": round(time.monotonic() - self._started_at, 1),
        }
