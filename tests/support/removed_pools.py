"""Live processes with lists of pools, and a pool that leaves all of them, in a test's own process."""

from collections.abc import Iterable
from typing import Any

from tests.support.fleet import worker
from tests.support.pool_world import PoolWorld
from vmpooler_tasks.jobs.inspection import roster
from vmpooler_tasks.jobs.inspection.roster import RESTART_SECONDS
from vmpooler_tasks.model.fleet import Heartbeat
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import heartbeats, pool_lists
from vmpooler_tasks.store.guards import removed_pools

OTHER = "other"


def lives(world: PoolWorld, name: str, configuration: str, pools: Iterable[str], **about: Any) -> Heartbeat:
    """Let a worker with these pools live. Return its heartbeat."""
    given: dict[str, Any] = {"manages_pools": True, "configuration": configuration, **about}
    process = worker(name, **given)
    pool_lists.publish(world.db, configuration, list(pools))
    heartbeats.record(world.db, process, list(pools))
    return process


def lives_here(world: PoolWorld) -> None:
    """Let the worker live whose ticks a test runs."""
    world.client.delete(fleet_keys.HEARTBEATS)
    lives(world, "w@here", world.settings.digest(), [one.name for one in world.pools])


def removed(world: PoolWorld) -> set[str]:
    return set(removed_pools.read_removed(world.db))


def let_be_removed_for(world: PoolWorld, name: str, seconds: float) -> None:
    """Make the removal so many seconds older."""
    since, seen = world.client.hget(keys.REMOVED_POOLS, name).split()
    world.client.hset(keys.REMOVED_POOLS, name, f"{float(since) - seconds} {float(seen)}")


def leave(world: PoolWorld, name: str = OTHER, seconds: float = RESTART_SECONDS) -> None:
    """Inspect all pools, and let this one leave the configuration so many seconds ago."""
    for one in world.pools:
        world.inspect(one.name)
    world.pools = [one for one in world.pools if one.name != name]
    lives_here(world)
    roster.update(world.context)
    let_be_removed_for(world, name, seconds)
