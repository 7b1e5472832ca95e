"""A pool leaves the configuration of all processes, returns, or takes another name."""

from tests.stateful.known import POOLS
from tests.stateful.vm_orders import VmOrders
from tests.support.fleet import worker
from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.inspection import roster
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import heartbeats, pool_lists
from vmpooler_tasks.store.guards import removed_pools

HOUR = 3600.0


class Configurations(VmOrders):
    """`absent` is the pool that is in no configuration now; `unused` its pending and ready VMs when it left."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self._whole = self.settings
        self.absent: str | None = None
        self.unused: set[str] = set()

    def leave(self, pool: str, hours_ago: float) -> None:
        """Let the pool leave so long ago. Its drain starts after an hour."""
        self.absent, self.unused = pool, self._unused(pool)
        self._configure(pool)
        self.update_roster()
        if record := self.db.client.hget(keys.REMOVED_POOLS, pool):  # none: nobody inspected it since its return
            since, seen = record.split()
            self.db.client.hset(keys.REMOVED_POOLS, pool, f"{float(since) - hours_ago * HOUR} {float(seen)}")

    def rename(self, hours_ago: float) -> None:
        """Let a configured pool take the name of the absent one, in one step, so long ago.

        What is in the queues of its former name stays that pool's, and is drained.
        """
        former = next(pool for pool in POOLS if pool != self.absent)
        self.leave(former, hours_ago)

    def come_back(self) -> None:
        """Let the absent pool be configured again."""
        self.absent = None
        self._configure(None)
        self.update_roster()

    def update_roster(self) -> None:
        """As beat orders it: with the heartbeat of a process that has this configuration."""
        names = [pool.name for pool in self.settings.pools]
        process = worker("w@here", manages_pools=True, configuration=self.settings.digest())
        pool_lists.publish(self.db, self.settings.digest(), names)
        heartbeats.record(self.db, process, names)
        roster.update(self.context)

    def is_inspected(self, pool: str) -> bool:
        """Return whether the next tick inspects the pool: an absent one only while it has VMs."""
        return pool != self.absent or pool in removed_pools.read_removed(self.db)

    def can_be_done(self, work: Work) -> bool:
        """Return whether a worker can do the work: it makes no VM for a pool that nobody has in its configuration."""
        if work.pool != self.absent:
            return True
        return work.step is not Step.CLONE and self.context.removed_pool(work.pool) is not None

    def check_absent(self) -> None:
        """An absent pool gets no new VM."""
        if self.absent:
            new = self._unused(self.absent) - self.unused
            about = {vm: self.db.client.hgetall(keys.vm(vm.encode())) for vm in new}
            assert not new, f"{self.absent} is in no configuration, and gets {about}"

    def _unused(self, pool: str) -> set[str]:
        return {*self._members(Queue.PENDING, pool), *self._members(Queue.READY, pool)}

    def _configure(self, absent: str | None) -> None:
        pools = tuple(pool for pool in self._whole.pools if pool.name != absent)
        self.settings = Settings(config=self._whole.config, pools=pools, providers=self._whole.providers)
        self.context = self._worker()
        assert {pool.name for pool in pools} == set(POOLS) - {absent}
