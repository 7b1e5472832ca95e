"""A VM that is in more than one queue: where it belongs. docs/vmpooler-behaviour.md, A VM in two queues."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.pools.lifecycle import HOUR, age, is_older


class QueuePlace(NamedTuple):
    """One queue of one pool."""

    queue: Queue
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VmFacts:
    """What decides where a VM belongs: its metadata as it stands, None for a field that is missing.

    `checkouts`: by pool, the time of its checkout in the pool's hash of active VMs. `lifetime_hours`: the configured
    one, 0 for no limit.
    """

    checkouts: Mapping[str, bytes | None]
    checkout: bytes | None
    lifetime: bytes | None
    destroy: bytes | None
    ready: bytes | None
    pool: bytes | None
    lifetime_hours: float


def winning_place(places: Collection[QueuePlace], facts: VmFacts, now: float) -> QueuePlace:
    """Return the place where the VM stays. Without places raise ValueError.

    Running wins over ready and pending, and over completed as long as a user has the VM: it was checked out within its
    lifetime, and its destruction has not started. Completed wins over ready and pending. Ready wins over pending if the
    VM was ready once. Discovered loses to every other queue. Among pools the VM's own wins, then one that has it
    checked out.
    """
    running = [place for place in places if place.queue is Queue.RUNNING and is_in_use(place.pool, facts, now)]
    waiting = (Queue.READY, Queue.PENDING) if facts.ready else (Queue.PENDING, Queue.READY)
    order = (Queue.COMPLETED, Queue.RUNNING, *waiting, Queue.DISCOVERED)
    if all(place.queue is not Queue.COMPLETED for place in places):
        running = [place for place in places if place.queue is Queue.RUNNING]
    chosen = running or next(found for queue in order if (found := [one for one in places if one.queue is queue]))
    home = None if facts.pool is None else readable(facts.pool)
    return min(chosen, key=lambda place: (place.pool != home, not facts.checkouts.get(place.pool), place.pool))


def is_in_use(pool: str, facts: VmFacts, now: float) -> bool:
    """Return True if a user has the VM from this pool, within its lifetime, and its destruction has not started."""
    checkout = facts.checkouts.get(pool) or facts.checkout
    return not facts.destroy and age(checkout, now) is not None and not is_older(checkout, _lifetime(facts), now)


def _lifetime(facts: VmFacts) -> float:
    """Return the VM's own lifetime in seconds, else the configured one; 0 means no limit."""
    try:
        return float(facts.lifetime or b"") * HOUR
    except ValueError:
        return facts.lifetime_hours * HOUR
