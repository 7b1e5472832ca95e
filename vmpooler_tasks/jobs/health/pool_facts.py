"""The facts about pools that a health check needs: which are empty, for how long, and which are suspended."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.health.measure import Measurement
from vmpooler_tasks.jobs.health.work_facts import WorkFacts
from vmpooler_tasks.model.health.assessment import PoolInUse
from vmpooler_tasks.model.health.recycling import NOTE_SECONDS, RecycledPool, repeated_limit
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.suspension import Suspension
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.health.progress import inspections_of
from vmpooler_tasks.store.health.record import HealthState
from vmpooler_tasks.store.health.snapshot import PoolSnapshot, Snapshot
from vmpooler_tasks.store.pools import breakers, vms


@dataclass(frozen=True, slots=True)
class Suspended:
    """What the circuit breaker suspends."""

    providers: Sequence[Suspension] = ()
    pools: Sequence[Suspension] = ()


def read_suspended(db: Database, settings: Settings, found: Snapshot) -> Suspended:
    """Return the providers and pools that are suspended or wait for a trial; none where `manage_pools` is off.

    The snapshot shows which they are. Their failures in a row are read of these alone.
    """
    if not settings.config.manage_pools:
        return Suspended()
    providers = [name for name, until in found.suspended_until.items() if until is not None]
    pools = [name for name, pool in found.pools.items() if pool.suspended_until is not None and settings.pool(name)]
    return Suspended(providers=breakers.suspended_providers(db, providers), pools=breakers.suspended_pools(db, pools))


def read_recycled(
    db: Database, settings: Settings, pools: Mapping[str, PoolSnapshot], now: float
) -> list[RecycledPool]:
    """Return the pools whose ready VMs are recycled again and again; none where `manage_pools` is off."""
    if not settings.config.manage_pools:
        return []
    sizes = {pool.name: pool.size for pool in settings.pools}
    limits = {name: repeated_limit(pool.size(sizes.get(name))) for name, pool in pools.items()}
    found = vms.read_recycled(db, list(pools), now - NOTE_SECONDS)
    return [RecycledPool(name, n, limits[name], last) for name, (n, last) in found.items() if n > limits[name]]


def empty_since(found: Measurement, before: HealthState, now: float) -> dict[str, float]:
    """Return the pools in use without a ready VM, each with the epoch of the first check that saw it so.

    A queue that cannot be read is not empty. A pool that its operator resumes counts anew.
    """
    empty = [name for name in _names_in_use(found) if found.pools[name].vms.get(Queue.READY) == 0]
    return {pool: min(before.empty_since.get(pool, now), now) for pool in empty}  # a clock may have been wrong


def stopped_pools(pools: Mapping[str, PoolSnapshot], settings: Settings, suspended: Suspended) -> set[str]:
    """Return the pools that get no clones for now: the breaker suspends them or their provider, or they are paused."""
    providers = {one.name for one in suspended.providers}
    paused = {name for name, pool in pools.items() if pool.pause}
    by_provider = {pool.name for pool in settings.pools if settings.provider_of(pool) in providers}
    return paused | by_provider | {one.name for one in suspended.pools}


def pools_in_use(
    found: Measurement, state: HealthState, stopped: Collection[str], work: WorkFacts, now: float
) -> Mapping[str, PoolInUse]:
    """Return the pools that shall have ready VMs. `stopped`: the pools of `stopped_pools`.

    Where these workers manage the pools, a pool counts as empty from its first inspection after they started.
    """
    since = state.empty_since
    return {
        name: PoolInUse(
            empty_seconds=empty_seconds(name, since[name], work, now) if name in since else None,
            is_suspended=name in stopped,
        )
        for name in _names_in_use(found)
    }


def empty_seconds(pool: str, since: float, work: WorkFacts, now: float) -> float:
    """Return for how long the pool counts as empty, if checks have seen it empty `since` then."""
    if not work.is_managed:
        return now - since
    return min(now - since, work.progress.running_seconds.get(inspections_of(pool), 0.0))


def _names_in_use(found: Measurement) -> list[str]:
    """Return the pools whose size is above zero and that no operator has paused."""
    return [name for name, pool in found.pools.items() if found.sizes[name] > 0 and pool.pause is None]
