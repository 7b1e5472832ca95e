"""The watch for another pool manager: its record as a test wants it, and a world in which it checks."""

import time
from dataclasses import dataclass
from typing import Any

from tests.support.pool_world import PoolWorld
from tests.support.world import POOL
from vmpooler_tasks.model.manager_watch import WatchState
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.pools import other_manager
from vmpooler_tasks.store.pools.other_manager import WatchCheck

COUNTER = "vmpooler__tasks__clone"
"""VMPooler's counter of clones, which each manager changes."""

INTERVAL = 5.0
"""Seconds between two checks of the watch."""


def see_other_manager(client: Any, sightings: int = 2, evidence: str = COUNTER) -> None:
    """Record that another manager was seen just now. No check of the workers has to run for this."""
    now = time.time()
    fields = {"state": "other", "sightings": sightings, "evidence": evidence, "seen_at": now}
    client.hset(keys.MANAGER_WATCH, mapping={**fields, "until": now + 120, "valid_until": now + 3600})


def forget_watch(client: Any) -> None:
    """Forget all sightings, as a new installation."""
    client.delete(keys.MANAGER_WATCH, keys.FOREIGN_CLONES)


@dataclass
class WatchedWorld(PoolWorld):
    """The server's time passes as the test says: the watch goes by it."""

    def observe(self, seconds: float = INTERVAL) -> WatchCheck:
        """Let the seconds pass, and check the watch as each tick of the workers does."""
        self.now += seconds
        names = [one.name for one in self.pools]
        return other_manager.observe(self.db, names, now=self.now, interval_seconds=INTERVAL)

    def watch_ends(self) -> None:
        """Check the watch until it has ended without a sighting."""
        until_alone(self)
        assert self.observe().is_alone

    def snapshot(self) -> dict[bytes, bytes]:
        """Return the content of every key of VMPooler."""
        found = self.client.scan_iter("vmpooler__*")
        return {key: self.client.dump(key) for key in found if key != b"vmpooler__health"}

    def others_vm(self, vm: str, age: float = 0, **metadata: Any) -> str:
        """Put a VM into pending as VMPooler's manager does."""
        self.client.sadd(keys.queue(Queue.PENDING, POOL), vm)
        stamp = ruby_utc(moment(self.now - age))
        self.client.hset(keys.vm(vm.encode()), mapping={"clone": stamp, "template": POOL, "pool": POOL, **metadata})
        return vm


def until_alone(world: WatchedWorld) -> list[WatchState]:
    """Check the watch until it ends, and return each state."""
    states = [world.observe().state]
    while states[-1] is not WatchState.ALONE:
        assert len(states) < 40
        states.append(world.observe().state)
    return states


def counts(world: WatchedWorld, number: int) -> None:
    """Start a clone as another manager does."""
    del number
    world.client.incr(COUNTER)
