"""The registration of pools: VMPooler's API server reads from it which pools there are."""

from collections.abc import Mapping

from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.arguments import field_words
from vmpooler_tasks.store.redis.connection import Database


def register(db: Database, pool: str, fields: Mapping[str, str]) -> bool:
    """Register the pool with these fields, and with no others. Return True if that changed something.

    Its removal is forgotten in the same step. Raise WrongTypeError.
    """
    script_keys = [keys.POOLS, keys.pool(pool), keys.REMOVED_POOLS]
    return bool(db.run("pools/register", script_keys, [pool, *field_words(fields)]))


def read(db: Database, pool: str) -> dict[str, str]:
    """Return the registered settings of a pool; none if it is not registered. Raise WrongTypeError."""
    found = db.call("HGETALL", keys.pool(pool))
    return {readable(name): readable(value) for name, value in found.items()}


def take_out(db: Database, pool: str) -> bool:
    """Remove the registration of a pool that is recorded as removed. Return True if it was registered."""
    return bool(db.run("pools/take_out", [keys.POOLS, keys.pool(pool), keys.REMOVED_POOLS], [pool]))
