"""The record of the foreign VMs of each pool, written by its inspections. docs/pools.md, Whose VM it is."""

import json
from collections.abc import Mapping, Sequence

from vmpooler_tasks.model.guards.foreign import MAX_FOREIGN_NAMES, ForeignVms
from vmpooler_tasks.model.names import Queue, parsed_object, readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite

FOREIGN_TARGET = "foreign"
"""The name under which the foreign VMs of a pool are remembered, in `keys.first_seen`."""


def record(db: Database, found: ForeignVms) -> None:
    """Record the foreign VMs of a pool, instead of those that were recorded before."""
    value = {"count": found.count, "names": list(found.names), "since": found.since}
    db.call("HSET", keys.FOREIGN_VMS, found.pool, json.dumps(value))


def forget(db: Database, pool: str) -> None:
    """Forget the record of a pool without foreign VMs, and when each was seen first."""
    first_seen = keys.first_seen(FOREIGN_TARGET, pool)
    with db.translated_errors(keys.FOREIGN_VMS, first_seen):
        pipe = db.client.pipeline(transaction=True)
        pipe.hdel(keys.FOREIGN_VMS, pool)
        pipe.delete(first_seen)
        pipe.execute()


def read_foreign(db: Database) -> dict[str, ForeignVms]:
    """Return the foreign VMs of each pool that has any. Raise WrongTypeError."""
    return parse_foreign(db.call("HGETALL", keys.FOREIGN_VMS))


def read_foreign_of(db: Database, pool: str) -> ForeignVms | None:
    """Return the foreign VMs of the pool, as its last inspection recorded them; None if it has none."""
    raw = db.call("HGET", keys.FOREIGN_VMS, pool)
    return None if raw is None else _parse(pool, raw)


def parse_foreign(raw: Mapping[bytes, bytes]) -> dict[str, ForeignVms]:
    """Return the records of the hash. A record that cannot be read counts as one VM without a name."""
    return {readable(pool): _parse(readable(pool), record) for pool, record in raw.items()}


def _parse(pool: str, raw: bytes) -> ForeignVms:
    fields = parsed_object(raw)
    names = fields.get("names")
    return ForeignVms(
        pool=pool,
        count=max(1, int(finite(str(fields.get("count"))) or 0)),
        names=tuple(str(name) for name in names[:MAX_FOREIGN_NAMES]) if isinstance(names, list) else (),
        since=finite(str(fields.get("since"))) or 0.0,
    )


def leave_discovered(db: Database, pool: str, vms: Sequence[bytes]) -> list[bytes]:
    """Remove these VMs from the pool's discovered. Return those that were in it until now."""
    key = keys.queue(Queue.DISCOVERED, pool)
    removed: list[bytes] = []
    for page in chunks(vms):
        with db.translated_errors(key):
            pipe = db.client.pipeline(transaction=False)
            for vm in page:
                pipe.srem(key, vm)
            removed += [vm for vm, was_there in zip(page, pipe.execute(), strict=True) if was_there]
    return removed
