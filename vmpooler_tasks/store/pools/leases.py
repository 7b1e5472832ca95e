"""Leases on VMs. A worker renews its leases while it works. If it dies, another worker takes the work over."""

from collections.abc import Sequence

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


def renew(db: Database, held: Sequence[tuple[str, int]], leased_until: float) -> list[bool]:
    """Renew each (VM, fence) until then. Return for each of them False if another worker took the lease over."""
    flags = db.run(
        "pools/renew_leases",
        [keys.POOL_SLOTS.key, keys.REQUEST_SLOTS.key, keys.DESTROYS],
        [repr(leased_until), keys.WORK_PREFIX, *(word for lease in held for word in lease)],
    )
    return [bool(flag) for flag in flags]
