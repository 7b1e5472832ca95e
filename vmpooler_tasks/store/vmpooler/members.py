"""The VMs of one pool with the times that their metadata holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.staleness import TIMESTAMP_FIELD
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.vmpooler import queues

MAX_EXAMINED_VMS = 5000
"""VMs of one queue that are read to find the oldest ones."""

CHECKOUT = b"checkout"
_FIELDS = (b"clone", b"ready", CHECKOUT, b"destroy", b"template", b"host", b"request_id", b"token:user")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolVm:
    """One VM. `since`: the epoch at which it entered its queue, None if its metadata does not say that.

    `user` is who checked it out; the token is never read.
    """

    name: str
    since: float | None
    template: str
    host: str
    request_id: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMembers:
    """One queue of a pool: its size, and its VMs, oldest first; those without a time come last.

    `vms` is None if the key is of another type than expected.
    """

    total: int
    vms: Sequence[PoolVm] | None


def read_members(db: Database, queue: Queue, pool: str) -> QueueMembers:
    """Read a queue of the pool: its size, and at most MAX_EXAMINED_VMS of its VMs."""
    try:
        total = queues.size(db, queue, pool)
        names: list[bytes] = []
        for page in queues.read_names(db, keys.queue(queue, pool)) if total else ():
            names += page
            if len(names) >= MAX_EXAMINED_VMS:
                break
    except WrongTypeError:
        return QueueMembers(total=0, vms=None)
    names = list(dict.fromkeys(names))[:MAX_EXAMINED_VMS]
    rows = queues.read_fields(db, [keys.vm(name) for name in names], *_FIELDS)
    vms = [_vm(queue, name, row) for name, row in zip(names, rows, strict=True)]
    return QueueMembers(total=total, vms=sorted(vms, key=lambda vm: (vm.since is None, vm.since or 0.0, vm.name)))


def _vm(queue: Queue, name: bytes, row: Sequence[bytes | None]) -> PoolVm:
    found = dict(zip(_FIELDS, row, strict=True))
    stamp = found.get(CHECKOUT if queue is Queue.RUNNING else TIMESTAMP_FIELD.get(queue, b"clone"))
    time = parse_time(stamp) if stamp else None
    return PoolVm(
        name=readable(name),
        since=time.timestamp() if time else None,
        template=readable(found[b"template"] or b""),
        host=readable(found[b"host"] or b""),
        request_id=readable(found[b"request_id"] or b""),
        user=readable(found[b"token:user"] or b""),
    )
