"""The record of the pools that these workers manage or managed. It outlives the pool's entry in the configuration."""

from dataclasses import replace

from vmpooler_tasks.model.guards.managed import ManagedPool
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


def read_managed_names(db: Database) -> set[str]:
    """Return the names of the recorded pools. Raise WrongTypeError."""
    return {readable(name) for name in db.call("HKEYS", keys.MANAGED_POOLS)}


def read_managed_pool(db: Database, pool: str) -> ManagedPool | None:
    """Return the record of one pool, or None. Raise WrongTypeError."""
    raw = db.call("HGET", keys.MANAGED_POOLS, pool)
    return None if raw is None else ManagedPool.from_record(pool, readable(raw))


def record_managed_pool(db: Database, pool: ManagedPool) -> None:
    """Record the pool, unless the same is recorded. `since` stays that of the first record. Raise WrongTypeError."""
    before = read_managed_pool(db, pool.name)
    record = replace(pool, since=before.since if before else pool.since).as_record()
    if before is None or before.as_record() != record:
        db.call("HSET", keys.MANAGED_POOLS, pool.name, record)
