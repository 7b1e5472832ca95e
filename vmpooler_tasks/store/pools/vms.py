"""VMs and their moves between queues. A move is guarded: it does nothing for a VM that has left its queue."""

from collections.abc import Iterable, Sequence

from vmpooler_tasks.model.health.explanation import error_line
from vmpooler_tasks.model.health.recycling import NOTE_SECONDS
from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.pools.lifecycle import Fields
from vmpooler_tasks.model.pools.results import Completion
from vmpooler_tasks.model.pools.suspension import LastError
from vmpooler_tasks.model.requests import RequestRetry
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards.missing import MissingGuard
from vmpooler_tasks.store.pools.failures import DeadLetterWrite, FailedVm, read_failed_vm, retry_keys, retry_words
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.reads import Reads
from vmpooler_tasks.store.vmpooler import queues
from vmpooler_tasks.store.vmpooler.delivered import Replacement, read_replacement

CHECK_FIELDS = (
    "clone",
    "clone_time",
    "ready",
    "check",
    "checkout",
    "lifetime",
    "destroy",
    "timeout_notification",
    "open_socket_error",
    "clone_error",
    "clone_error_class",
    "request_id",
    "pool_alias",
    "adopted",
    "token:user",
    "user_tagged",
)
"""The metadata that the checks use."""

MOVE_PAGE = 500
"""VMs that one call of pools/complete_some.lua moves."""


def read_metadata(db: Database, vms: Sequence[bytes]) -> list[Fields]:
    """Return the CHECK_FIELDS of each VM. For running VMs see also `read_checkouts`."""
    found: list[Fields] = []
    for page in chunks(vms):
        rows = queues.query_fields(db, page, *(name.encode() for name in CHECK_FIELDS)).read()
        found += [dict(zip(CHECK_FIELDS, row, strict=True)) for row in rows]
    return found


def read_metadata_by_name(db: Database, vms: Iterable[bytes]) -> dict[bytes, Fields]:
    """Return VM → its CHECK_FIELDS."""
    names = sorted(vms)
    return dict(zip(names, read_metadata(db, names), strict=True))


def read_checkouts(db: Database, pool: str, vms: Sequence[bytes]) -> list[bytes | None]:
    """Return the checkout time of each VM from the pool's hash of active VMs."""
    with db.translated_errors(keys.active(pool)):
        found: list[bytes | None] = db.client.hmget(keys.active(pool), list(vms)) if vms else []
        return found


def set_field(db: Database, vm: str, name: str, value: str | bytes) -> None:
    """Set one field of a VM's metadata, unless the metadata is gone."""
    db.run("pools/set_field", [keys.vm(vm.encode())], [name, value])


def start_age(db: Database, vm: bytes, stamp: bytes) -> None:
    """Set the `clone` time of a pending VM that has none. Raise WrongTypeError if its metadata is not a hash."""
    db.call("HSETNX", keys.vm(vm), "clone", stamp)


def record_adoption(db: Database, vm: bytes, stamp: bytes) -> None:
    """Note in the metadata of a VM that an operator has adopted it. Raise WrongTypeError."""
    db.call("HSET", keys.vm(vm), "adopted", stamp)


def complete(db: Database, vm: str, pool: str, queue: Queue) -> Completion:
    """Move the VM from this queue to completed. If it was delivered to an open request, queue another VM for that."""
    replacement = read_replacement(db, vm.encode(), pool) if queue is Queue.RUNNING else Replacement(pool)
    outcome = db.run(
        "pools/complete",
        [keys.queue(queue, pool), keys.queue(Queue.COMPLETED, pool), *replacement.keys()],
        [vm, *replacement.words()],
    )
    return Completion(outcome.decode())


def complete_some(db: Database, pool: str, queue: Queue, keep: int = 0) -> list[str]:
    """Move any VMs from this queue to completed until `keep` are left. Return the moved VMs."""
    moved: list[str] = []
    while True:
        page = db.run(
            "pools/complete_some", [keys.queue(queue, pool), keys.queue(Queue.COMPLETED, pool)], [keep, MOVE_PAGE]
        )
        moved += [vm.decode(errors="backslashreplace") for vm in page]
        if len(page) < MOVE_PAGE:
            return moved


def recycle_expired(
    db: Database, pool: str, expired: Sequence[bytes], *, size: int, now: float, why: str = ""
) -> list[bytes]:
    """Move these ready VMs, the oldest first, to completed: a quarter of ready at most, less what the pool lacks.

    One VM of a full pool is moved in any case. `why`: the error that health shows of them; blank for none.
    """
    words = [size, repr(now), why, NOTE_SECONDS, *expired[:MOVE_PAGE]]
    return list(db.run("pools/recycle_expired", _recycling_keys(pool), words))


def recycle_unfit(db: Database, vm: str, pool: str, *, now: float, why: str) -> bool:
    """Move a ready VM that no user can use to completed. Return False if it had left ready."""
    return bool(db.run("pools/recycle_unfit", _recycling_keys(pool), [vm, repr(now), why, NOTE_SECONDS]))


def read_recycled(db: Database, pools: Iterable[str], since: float) -> dict[str, tuple[int, LastError | None]]:
    """Return pool → (how many VMs were recycled since then, why the last one was), without the pools that have none."""
    reads = Reads()
    for pool in pools:
        reads.add(("count", pool), "ZCOUNT", keys.recycled(pool), repr(since), "+inf")
        reads.add(("last", pool), "ZRANGE", keys.recycled(pool), -1, -1, "WITHSCORES")
    replies = reads.send(db)
    found: dict[str, tuple[int, LastError | None]] = {}
    for pool in pools:
        if count := replies.get(("count", pool), 0):
            last = [LastError(readable(note).partition("\n")[2], at) for note, at in replies.get(("last", pool), ())]
            found[pool] = (count, last[0] if last else None)
    return found


def _recycling_keys(pool: str) -> list[bytes]:
    return [keys.queue(Queue.READY, pool), keys.queue(Queue.COMPLETED, pool), keys.recycled(pool)]


def fail(
    db: Database,
    vm: str,
    pool: str,
    queue: Queue,
    *,
    dead_letter: DeadLetterWrite,
    retry: RequestRetry,
    now: float,
    missing: MissingGuard | None = None,
) -> FailedVm:
    """Write the VM's dead letter, move it from this queue to completed, and retry or fail its request.

    A ready VM counts as recycled. `missing`: it fails because its provider does not have it. The brake of its pool may
    hold it then.
    """
    why = error_line(dead_letter.entry.error_message or "") if queue is Queue.READY else ""
    reply = db.run(
        "pools/fail_vm",
        [
            keys.queue(queue, pool),
            keys.queue(Queue.COMPLETED, pool),
            *dead_letter.keys(),
            *retry_keys(retry),
            keys.recycled(pool),
            *(missing.keys() if missing else ()),
        ],
        [
            *(vm, repr(now), *dead_letter.words(), *retry_words(retry), why, NOTE_SECONDS),
            *(missing.words() if missing else ()),
        ],
    )
    return read_failed_vm(reply)


def remove_pending(db: Database, guard: MissingGuard, *, keep_seconds: float, retry: RequestRetry) -> FailedVm:
    """Remove a pending VM that its provider does not have, and retry or fail its request. No dead letter is written.

    The brake of its pool may hold it if its clone had ended: before that the provider need not have it.
    """
    removed, outcome, retries = db.run(
        "pools/remove_pending",
        [
            keys.queue(Queue.PENDING, guard.pool),
            keys.vm(guard.vm.encode()),
            keys.work(guard.vm.encode()),
            *retry_keys(retry),
            *guard.keys(),
        ],
        [guard.vm, int(keep_seconds), *retry_words(retry), *guard.words()],
    )
    return read_failed_vm([removed, 0, 0, outcome, retries])
