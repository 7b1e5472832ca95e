"""How many VMs of each pool are being cloned."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


def count_by_pool(db: Database) -> dict[str, int]:
    """Return how many pending VMs of each pool are being cloned, in one round trip, or three if there are any."""
    in_flight = sorted(set().union(*_read(db, [("ZRANGE", slots.key, 0, -1) for slots in _SLOTS])))
    vms: defaultdict[str, list[bytes]] = defaultdict(list)
    for vm, pool in zip(in_flight, _read(db, [("HGET", keys.vm(vm), "pool") for vm in in_flight]), strict=True):
        if pool:
            vms[readable(pool)].append(vm)
    pending = _read(db, [("SMISMEMBER", keys.queue(Queue.PENDING, pool), *names) for pool, names in vms.items()])
    return {pool: sum(flags) for pool, flags in zip(vms, pending, strict=True)}


_SLOTS = (keys.POOL_SLOTS, keys.REQUEST_SLOTS)


def _read(db: Database, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return the replies; a key of another type holds nothing."""
    if not commands:
        return []
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        replies = pipe.execute(raise_on_error=False)
    return [() if isinstance(reply, Exception) else reply for reply in replies]
