"""The pools in the configurations of the live workers and beats: one list for each configuration."""

from collections.abc import Collection
from dataclasses import replace

from vmpooler_tasks.model.fleet import Fleet
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.reads import Reads

POOL_LIST_SECONDS = 60
"""How long a list is kept after the last heartbeat of its configuration."""

NO_POOL = ""
"""A member of every list, so that the list of a configuration without pools exists. No pool has this name."""


def publish(db: Database, configuration: str, pools: Collection[str]) -> None:
    """Write the list of a configuration. Its pools count as configured from this step on."""
    script_keys = [fleet_keys.pool_list(configuration), keys.REMOVED_POOLS]
    db.run("fleet/publish_pools", script_keys, [POOL_LIST_SECONDS, NO_POOL, *sorted(pools)])


def with_pool_lists(db: Database, fleet: Fleet) -> Fleet:
    """Return the fleet with the list of each live configuration, in one round trip.

    A list that does not exist, or cannot be read, is left out: nobody knows what is in it.
    """
    reads = Reads()
    for one in fleet.configurations:
        reads.add(one, "SMEMBERS", fleet_keys.pool_list(one))
    replies = reads.send(db)
    found = {one: replies.get(one) for one in fleet.configurations}
    lists = {one: frozenset(map(readable, names)) - {NO_POOL} for one, names in found.items() if names}
    return replace(fleet, pool_lists=lists)
