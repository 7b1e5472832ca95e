"""The facts about pools that are in no configuration and have VMs."""

from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.health.measure import Measurement
from vmpooler_tasks.model.guards.removed import RemovedPoolState
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet.pool_lists import with_pool_lists
from vmpooler_tasks.store.guards.removed_pools import read_states
from vmpooler_tasks.store.health.snapshot import Snapshot


def removed_pools(db: Database, settings: Settings, found: Measurement, seen: Snapshot) -> list[RemovedPoolState]:
    """Return the pools with VMs that neither this process nor a live one has in its configuration.

    Those that the ticks of the pool workers recorded, and those that have queues without a record of anybody.
    """
    names = {state.name for state in seen.removed} | found.unconfigured
    names -= {pool.name for pool in settings.pools}
    if not names:
        return []
    fleet = with_pool_lists(db, seen.fleet)
    if not fleet.knows_all_pools:
        return list(seen.removed)  # a live process may have the others
    return [state for state in read_states(db, names - fleet.pools) if state.count]
