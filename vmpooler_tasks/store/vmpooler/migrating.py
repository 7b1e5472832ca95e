"""The queue `migrating`, to which VMPooler's API adds every VM that is checked out. Nothing migrates here."""

from collections.abc import Collection

from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.vmpooler.queues import PAGE


def clear(db: Database, pool: str, inventory: Collection[bytes]) -> int:
    """Remove from migrating every VM that does not run, and those that run and are in the inventory.

    Return how many were removed. A page at a time, so that the server is held for a few milliseconds at most, however
    many there are. Raise WrongTypeError.
    """
    migrating, running = keys.queue(Queue.MIGRATING, pool), keys.queue(Queue.RUNNING, pool)
    removed, cursor = 0, b"0"
    while True:
        cursor, count, running_vms = db.run("vmpooler/clear_migrating", [migrating, running], [cursor, PAGE])
        known = [vm for vm in running_vms if vm in inventory]
        removed += int(count) + (int(db.call("SREM", migrating, *known)) if known else 0)
        if cursor == b"0":
            return removed
