"""VMs in more than one queue, found while a walk through all queues reads their names."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.guards.double_queue import QueuePlace
from vmpooler_tasks.model.health.assessment import DoubleQueued
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.guards import double_queues
from vmpooler_tasks.store.vmpooler import queues

MAX_SUSPECTS = 2_000
"""VMs whose queues one walk reads again. More than so many in two queues are reported as so many."""


@dataclass(slots=True)
class QueuedNames:
    """The hashes of all names met, which take less memory than the names. `suspects`: by queue, those met before."""

    hashes: set[int] = field(default_factory=set)
    suspects: dict[bytes, set[int]] = field(default_factory=dict)

    def add(self, key: bytes, hashes: set[int]) -> None:
        """Add all names of one queue."""
        if double_queues.is_counted(key) and (again := self.hashes & hashes):
            self.suspects[key] = again
        self.hashes |= hashes


def find_double_queued(db: Database, met: QueuedNames, known: Sequence[bytes]) -> list[DoubleQueued]:
    """Return the VMs that two of the `known` queues hold now, by their queues.

    The walk met them in two queues, but not at one instant: a VM that moved meanwhile is in one queue.
    """
    names = sorted(_read_suspects(db, met.suspects))[:MAX_SUSPECTS]
    groups: defaultdict[tuple[QueuePlace, ...], list[str]] = defaultdict(list)
    for vm, places in double_queues.find_places(db, names, known).items() if names else ():
        groups[tuple(places)].append(readable(vm))
    return [
        DoubleQueued(pool=group[0].pool, queues=[readable(keys.queue(*place)) for place in group], vms=vms)
        for group, vms in sorted(groups.items())
    ]


def find_all_double_queued(db: Database, pools: Iterable[str]) -> list[DoubleQueued]:
    """Walk through all queues of these pools, and return the VMs that two of them hold now. For `doctor`."""
    met, known = QueuedNames(), [key for pool in pools for key in keys.queues(pool) if double_queues.is_counted(key)]
    for key in known:
        hashes = set[int]()
        try:
            for page in queues.read_names(db, key):
                hashes.update(map(hash, page))
        except WrongTypeError:  # a finding of its own names the key
            continue
        met.add(key, hashes)
    return find_double_queued(db, met, known)


def _read_suspects(db: Database, suspects: Mapping[bytes, set[int]]) -> Iterator[bytes]:
    """Yield the names of the hashes in each queue. A name may come more than once."""
    left = MAX_SUSPECTS
    for key, hashes in suspects.items():
        for page in queues.read_names(db, key):
            found = [name for name in page if hash(name) in hashes]
            yield from found
            left -= len(found)
            if left <= 0:
                return
