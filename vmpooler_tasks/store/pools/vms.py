"""VMs on their way from queue to queue: guarded moves, which do nothing for a VM that has left already."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vmpooler_tasks.model.deadletters.entry import DeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.lifecycle import Fields
from vmpooler_tasks.model.requests import RequestRetry
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed, limit_words
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.vmpooler import queues

FIELDS = (
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
)
"""What the checks look at."""

MOVED_AT_ONCE = 500
"""As pools/complete_some.lua has it: fewer are the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedVm:
    """What a failure did. `failed`: the VM was in its queue until now."""

    failed: bool
    trimmed: Trimmed = field(default_factory=lambda: Trimmed(0, 0))
    request_outcome: str = "none"
    request_retries: int = 0


def metadata(db: Database, vms: Sequence[bytes]) -> list[Fields]:
    """The FIELDS of each; a running VM without a `checkout` of its own gets none here (see `checkouts`)."""
    found: list[Fields] = []
    for page in chunks(vms):
        rows = queues.fields(db, page, *(name.encode() for name in FIELDS)).result()
        found += [dict(zip(FIELDS, row, strict=True)) for row in rows]
    return found


def checkouts(db: Database, pool: str, vms: Sequence[bytes]) -> list[bytes | None]:
    """When each was checked out, as the pool's list of active VMs has it."""
    with db.translated_errors(keys.active(pool)):
        found: list[bytes | None] = db.client.hmget(keys.active(pool), list(vms)) if vms else []
        return found


def note(db: Database, vm: str, name: str, value: str | bytes) -> None:
    """Keeps one field of a VM's metadata, unless there is none any more."""
    db.run("pools/set_field", [keys.vm(vm.encode())], [name, value])


def begin_age(db: Database, vm: bytes, stamp: bytes) -> None:
    """From now on a pending VM that nobody gave a time has one. Raises WrongTypeError."""
    db.call("HSETNX", keys.vm(vm), "clone", stamp)


def complete(db: Database, vm: str, pool: str, queue: Queue) -> bool:
    """Moves it to completed; False if it had left the queue."""
    return bool(db.run("pools/complete", [keys.queue(queue, pool), keys.queue(Queue.COMPLETED, pool)], [vm]))


def complete_some(db: Database, pool: str, queue: Queue, keep: int = 0) -> list[str]:
    """Moves any to completed until so many are left."""
    moved: list[str] = []
    while True:
        page = db.run("pools/complete_some", [keys.queue(queue, pool), keys.queue(Queue.COMPLETED, pool)], [keep])
        moved += [vm.decode(errors="backslashreplace") for vm in page]
        if len(page) < MOVED_AT_ONCE:
            return moved


def fail(
    db: Database,
    vm: str,
    pool: str,
    queue: Queue,
    *,
    letter: DeadLetter,
    now: float,
    limits: DeadLetterLimits | None,
    retry: RequestRetry,
) -> FailedVm:
    """Its dead letter, and from pending or ready to completed. Without `limits` there is no letter."""
    dead_letters = DeadLetterQueue(str(queue))
    failed, dropped, expired, outcome, retries = db.run(
        "pools/fail_vm",
        [
            keys.queue(queue, pool),
            keys.queue(Queue.COMPLETED, pool),
            keys.dead_letters(dead_letters),
            keys.DEAD_LETTER_IDS,
            keys.COUNTERS,
            keys.request(retry.request_id),
            keys.PENDING_ONDEMAND_CLONES,
        ],
        [
            vm,
            dead_letters,
            repr(now),
            *limit_words(limits),
            letter.id,
            letter.member(),
            int(retry.permanent),
            retry.most_retries,
            retry.item,
            retry.reason,
        ],
    )
    return FailedVm(
        failed=bool(failed),
        trimmed=Trimmed(dropped, expired),
        request_outcome=outcome.decode(),
        request_retries=retries,
    )


def drop_pending(db: Database, vm: str, pool: str, *, keep_seconds: float, retry: RequestRetry) -> FailedVm:
    """Removes a pending VM that is nowhere."""
    removed, outcome, *retries = db.run(
        "pools/drop_pending",
        [
            keys.queue(Queue.PENDING, pool),
            keys.vm(vm.encode()),
            keys.request(retry.request_id),
            keys.PENDING_ONDEMAND_CLONES,
        ],
        [vm, int(keep_seconds), retry.most_retries, retry.item],
    )
    return FailedVm(
        failed=bool(removed), request_outcome=outcome.decode(), request_retries=retries[0] if retries else 0
    )


def discover(db: Database, pool: str, vms: Sequence[bytes]) -> list[str]:
    """Those of these that are in no queue are put into discovered."""
    others = [keys.queue(queue, pool) for queue in Queue if queue is not Queue.DISCOVERED]
    found = db.run("pools/discover", [keys.queue(Queue.DISCOVERED, pool), *others], [keys.VM_PREFIX, pool, *vms])
    return [vm.decode(errors="backslashreplace") for vm in found]
