"""What users and operators of VMPooler's API do, and what the provider does by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.stateful.known import POOLS
from tests.stateful.rules import Watched
from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.pool_world import TEMPLATE
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.pools.control import Operator, PoolControl
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.requests import Wanted
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.guards import brakes

DISCOVERY_SECONDS = 10

ORDERS = ("empty", "undo", "reset", "template", "undo template", "clone target")
"""What `order` knows."""


class Users(Watched):
    """`api` is VMPooler's API server: orders reach Redis by its commands, one by one."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        pools = [ApiPool(name, size, TEMPLATE) for name, size in POOLS.items()]
        self.api = ApiClient(db.client, pools, clock=self.clock)

    def inspect(self, pool: str, *, readable: bool = True) -> list[Work]:
        raise NotImplementedError

    @contextmanager
    def _interrupted(self, command: str, pool: str, *, slowly: bool) -> Iterator[None]:
        """Before this command of a route the API server pauses, until the middle of the second inspection."""

        def pause(words: tuple[Any, ...]) -> None:
            if words[0] == command:
                self.api.before_command = None
                self.inspect(pool)
                self.now += DISCOVERY_SECONDS + 1
                self.inspect(pool)

        self.api.before_command = pause if slowly else None
        yield
        self.api.before_command = None

    def check_out(self, pool: str, *, slowly: bool = False) -> None:
        """Check a VM out. `slowly`: inspections come between its move and the time of its checkout."""
        with self._interrupted("SADD", pool, slowly=slowly):
            for vm in self.api.checkout({pool: 1}).vms:
                assert vm in self.provider.machines, f"{vm} is handed out, and there is no such VM"

    def hand_back(self, pool: str, *, slowly: bool = False) -> None:
        """Return a VM. `slowly`: inspections come while it is in no queue."""
        with self._interrupted("SADD", pool, slowly=slowly):
            for vm in self._members(Queue.RUNNING, pool)[:1]:
                assert self.api.delete_vm(vm).ok

    def request(self, pool: str, count: int) -> None:
        name, wanted = f"request-{len(self._requests)}", Wanted(pool, pool, count)
        assert self.api.request_vms({pool: count}, name).ok
        self._requests[name] = (wanted, self.now)

    def order(self, pool: str, what: str) -> None:
        match what:
            case "empty":
                self.api.set_pool_sizes({pool: 0})
            case "undo":
                self.api.undo_pool_size(pool)
            case "template":
                self.api.set_templates({pool: "templates/two"})
            case "undo template":
                self.api.undo_template(pool)
            case "clone target":
                before = self.api.pools[pool].clone_target
                self.api.set_clone_targets({pool: "cluster-1" if before == "cluster-2" else "cluster-2"})
            case _:
                self.api.reset_pools(pool)

    def control(self, pool: str, what: str) -> None:
        """Pause, drain or resume a pool."""
        control = PoolControl(self.db, self.settings, self.clock, Operator(who="test"))
        if what == "resume":
            control.resume(pool)
            self._pending_at_pause.pop(pool, None)
            return
        pending = self._members(Queue.PENDING, pool)
        self._pending_at_pause.setdefault(pool, set(pending))
        order = control.drain if what == "drain" else control.pause
        order(pool)
        self._note_taken_back(pool, pending)

    def _is_stopped(self, pool: str) -> bool:
        """Return whether the pool is paused, or in no configuration."""
        return pool in self._pending_at_pause or self.settings.pool(pool) is None

    def _note_taken_back(self, pool: str, pending: list[str]) -> None:
        """Note which of the VMs that were pending have left no trace: only a stopped pool takes clones back."""
        gone = {vm for vm in pending if not self.db.client.exists(keys.vm(vm.encode()))}
        assert not gone or self._is_stopped(pool)
        self._gone |= gone

    def confirm(self) -> None:
        """An operator releases the brakes."""
        for pool in POOLS:
            brakes.confirm(self.db, pool, {"action": "confirm", "who": "test", "pool": pool})

    def break_one(self, pool: str) -> None:
        for vm in self._members(Queue.READY, pool)[:1]:
            self.provider.readiness[vm] = Readiness(False, "no route to host", "ConnectionError")

    def lose_one(self, pool: str) -> None:
        """A VM in use is gone from its provider, perhaps before its request has all others. Two at once at the most."""
        running = [vm for vm in self._members(Queue.RUNNING, pool) if vm in self.provider.machines]
        if running and len(self._lost & set(self._seen.everywhere)) < 2:
            self._lost.add(running[0])
            del self.provider.machines[running[0]], self.provider.pool_of[running[0]]
