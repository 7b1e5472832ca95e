"""VMPooler's counters of the clones in progress."""

from collections.abc import Sequence
from dataclasses import dataclass

from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import leading_number
from vmpooler_tasks.store.redis.reads import Reads


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCounters:
    """Clones in progress and items that wait. `unreadable`: names of the keys that are of another type."""

    active_clones: int
    active_ondemand_clones: int
    pending_ondemand_clones: int
    unreadable: Sequence[str]


def read_task_counters(db: Database) -> TaskCounters:
    """Read the counters in one round trip, and whether the sizes of the pools are of the expected type."""
    reads = Reads()
    reads.add("clones", "GET", keys.ACTIVE_CLONES)
    reads.add("ondemand", "GET", keys.ACTIVE_ONDEMAND_CLONES)
    reads.add("pending", "ZCARD", keys.PENDING_ONDEMAND_CLONES)
    reads.add("sizes", "HLEN", keys.POOL_SIZES)  # the size of each pool is read with the pool
    replies = reads.send(db)
    return TaskCounters(
        active_clones=leading_number(replies.get("clones")),
        active_ondemand_clones=leading_number(replies.get("ondemand")),
        pending_ondemand_clones=replies.get("pending", 0),
        unreadable=[readable(key) for key in replies.refused],
    )
