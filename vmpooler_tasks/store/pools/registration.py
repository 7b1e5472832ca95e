"""The registration of pools: VMPooler's API server reads from it which pools there are."""

from collections.abc import Mapping

from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


def register(db: Database, pools: Mapping[str, Mapping[str, str]]) -> None:
    """Register these pools (name → fields) and no others, as VMPooler's own manager does at its start."""
    with db.translated_errors(keys.POOLS):
        former = {readable(name) for name in db.client.smembers(keys.POOLS)}
        pipe = db.client.pipeline(transaction=True)
        for name in former - pools.keys():
            pipe.srem(keys.POOLS, name)
            pipe.delete(keys.pool(name))
        for name, fields in pools.items():
            pipe.sadd(keys.POOLS, name)
            pipe.delete(keys.pool(name))
            pipe.hset(keys.pool(name), mapping=dict(fields))
        pipe.execute()
