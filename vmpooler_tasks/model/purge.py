"""What a purge covers, and what it reports of one entry or queue."""

from enum import StrEnum
from typing import NamedTuple

from vmpooler_tasks.model.names import Queue


class PurgeTarget(StrEnum):
    """What a purge covers: three queues of each pool, and two targets that belong to no pool."""

    PENDING = Queue.PENDING.value
    READY = Queue.READY.value
    COMPLETED = Queue.COMPLETED.value
    ORPHANED = "orphaned"
    """Metadata whose VM is in no queue."""

    REQUESTS = "requests"
    """On-demand requests that nobody fulfils."""

    @property
    def belongs_to_pool(self) -> bool:
        return self in {PurgeTarget.PENDING, PurgeTarget.READY, PurgeTarget.COMPLETED}


PURGED_QUEUES = (Queue.PENDING, Queue.READY, Queue.COMPLETED)
"""The queues among the targets, in the order of a cycle: what leaves ready is met in completed."""


class PurgedEntry(NamedTuple):
    """An entry that was purged or, in a dry run, found. `vm` is the request's id for a request."""

    queue: PurgeTarget
    pool: str
    vm: str
    age_seconds: int
    max_age_seconds: float


class SkippedQueue(NamedTuple):
    """A queue that purge_max_percent kept from being purged, and the percentage of its entries that was stale."""

    pool: str
    queue: str
    percent: float
