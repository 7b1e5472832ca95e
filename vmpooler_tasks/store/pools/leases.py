"""Leases on VMs: prolonged while their holder works, so that the work of a dead one is soon taken up by another."""

from collections.abc import Sequence

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


def renew(db: Database, held: Sequence[tuple[str, int]], leased_until: float) -> list[bool]:
    """Whether each (VM, fence) is still held by this fence; those that are, are leased until then."""
    flags = db.run(
        "pools/renew_leases",
        [keys.POOL_SLOTS.key, keys.REQUEST_SLOTS.key, keys.DESTROYS],
        [repr(leased_until), keys.WORK_PREFIX, *(word for lease in held for word in lease)],
    )
    return [bool(flag) for flag in flags]
