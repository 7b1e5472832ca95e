"""The batches of a purge. Each is decided again and carried out in one atomic step on the server.

Every function sends its batch and returns the pending result, which the caller has to read or to close.
"""

from collections.abc import Sequence
from typing import NamedTuple

from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed, limit_words
from vmpooler_tasks.store.redis.connection import Database, PendingReply

ORPHAN_EXPIRY_SECONDS = 3600

MAX_MEMBERSHIP_CHECKS = 10_000
"""Memberships that one call checks: two to three milliseconds of the server's time."""


class Candidate(NamedTuple):
    """A stale entry: the VM, its timestamp as it was read (b"" for none), and its dead letter if it gets one."""

    vm: bytes
    stamp: bytes
    dead_letter: str = ""


class BatchResult(NamedTuple):
    """A flag for each candidate: whether it was still stale and is purged. And the dead letters that made room."""

    purged: list[bool]
    trimmed: Trimmed = Trimmed(0, 0)


def counter(target: PurgeTarget, pool: str = "") -> str:
    """Return the name of a purge counter in the hash of counters."""
    return f"purged:{target}:{pool}" if pool else f"purged:{target}"


def purge_pending(
    db: Database,
    pool: str,
    batch: Sequence[Candidate],
    *,
    now: float,
    limits: DeadLetterLimits | None,
    data_ttl_seconds: float,
) -> PendingReply[BatchResult]:
    """Remove the VMs from pending, each with its dead letter. `limits` is None while dead letters are switched off."""
    return db.send(
        "purge/purge_pending",
        [keys.queue(Queue.PENDING, pool), keys.dead_letters(DeadLetterQueue.PENDING), keys.COUNTERS],
        [
            now,
            *limit_words(limits),
            int(data_ttl_seconds),
            keys.VM_PREFIX,
            counter(PurgeTarget.PENDING, pool),
            *(part for candidate in batch for part in candidate),
        ],
        _parse_with_trimmed,
    )


def purge_ready(db: Database, pool: str, batch: Sequence[Candidate]) -> PendingReply[BatchResult]:
    """Move the VMs from ready to completed."""
    script_keys = [keys.queue(Queue.READY, pool), keys.queue(Queue.COMPLETED, pool), keys.COUNTERS]
    args = [keys.VM_PREFIX, counter(PurgeTarget.READY, pool), *_vms_with_stamps(batch)]
    return db.send("purge/purge_ready", script_keys, args, _parse)


def purge_completed(db: Database, pool: str, batch: Sequence[Candidate]) -> PendingReply[BatchResult]:
    """Remove the VMs from completed."""
    script_keys = [keys.queue(Queue.COMPLETED, pool), keys.COUNTERS]
    args = [keys.VM_PREFIX, counter(PurgeTarget.COMPLETED, pool), *_vms_with_stamps(batch)]
    return db.send("purge/purge_completed", script_keys, args, _parse)


def expire_orphans(db: Database, every_queue: Sequence[bytes], batch: Sequence[Candidate]) -> PendingReply[BatchResult]:
    """Give the VMs' metadata an expiry, unless one of the queues holds the VM. Pass every queue of every pool."""
    script_keys = [keys.COUNTERS, keys.PURGE_BATCH, *every_queue]
    args = [ORPHAN_EXPIRY_SECONDS, keys.VM_PREFIX, counter(PurgeTarget.ORPHANED), *_vms_with_stamps(batch)]
    return db.send("purge/expire_orphans", script_keys, args, _parse)


def orphans_per_call(queue_count: int, max_orphans: int) -> int:
    """Return how many orphans one call may take: each of them is searched for in every queue."""
    return max(1, min(max_orphans, MAX_MEMBERSHIP_CHECKS // max(1, queue_count)))


def _vms_with_stamps(batch: Sequence[Candidate]) -> list[bytes]:
    return [part for candidate in batch for part in (candidate.vm, candidate.stamp)]


def _parse(flags: list[int]) -> BatchResult:
    return BatchResult([bool(flag) for flag in flags])


def _parse_with_trimmed(reply: list[int]) -> BatchResult:
    dropped, expired, *flags = reply
    return BatchResult([bool(flag) for flag in flags], Trimmed.read(dropped, expired))
