"""What a purge does to the queues: each batch is decided again and done in one atomic step on the server."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vmpooler_tasks.model.names import ORPHANED, DeadLetterQueue, Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed, limit_words
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis.connection import Answer, Database
from vmpooler_tasks.store.redis.locks import OwnedLock
from vmpooler_tasks.store.redis.numbers import finite

ORPHAN_EXPIRY_SECONDS = 3600
LOCK_SECONDS = 60

DURATION_BOUNDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
"""Seconds up to which each bucket of the cycles' durations reaches; the last one has no end."""
MEMBERSHIP_CHECKS = 10_000
"""Memberships that one call may check: two to three milliseconds of the server's time."""


class Candidate(NamedTuple):
    """A stale entry: the VM, its timestamp as it was read (b"" for none), and its dead letter where it gets one."""

    vm: bytes
    stamp: bytes
    letter: str = ""


def counter(what: str, pool: str = "") -> str:
    """The name of a purge counter in the counters' hash."""
    return f"purged:{what}:{pool}" if pool else f"purged:{what}"


def duration_counter(bound: float | None) -> str:
    """The name of the counter of cycles in one bucket; None is the last one."""
    return f"purge_cycles_within:{'inf' if bound is None else format(bound, 'g')}"


class Batch:
    """A batch under way on the server."""

    def __init__(self, answer: Answer, *, pushes_letters: bool = False) -> None:
        self._answer = answer
        self._pushes_letters = pushes_letters

    def result(self) -> tuple[list[bool], Trimmed]:
        """Which of the batch were still stale and are purged, and the dead letters that made room.

        Raises WrongTypeError or StoreRefusedError if the server refused the batch; then none of it was purged.
        """
        flags = self._answer.result()
        trimmed = Trimmed(*flags[:2]) if self._pushes_letters else Trimmed(0, 0)
        return [bool(flag) for flag in (flags[2:] if self._pushes_letters else flags)], trimmed


def purge_pending(
    db: Database,
    pool: str,
    batch: Sequence[Candidate],
    *,
    now: float,
    limits: DeadLetterLimits | None,
    data_ttl_seconds: float,
) -> Batch:
    """Takes them out of pending. Without `limits`, dead letters being off, they leave without one."""
    words = [part for c in batch for part in (c.vm, c.stamp, c.letter)]
    answer = db.begin(
        "purge/purge_pending",
        [
            keys.queue(Queue.PENDING, pool),
            keys.dead_letters(DeadLetterQueue.PENDING),
            keys.COUNTERS,
        ],
        [
            now,
            *limit_words(limits),
            int(data_ttl_seconds),
            keys.VM_PREFIX,
            counter(Queue.PENDING, pool),
            *words,
        ],
    )
    return Batch(answer, pushes_letters=True)


def purge_ready(db: Database, pool: str, batch: Sequence[Candidate]) -> Batch:
    """Moves them from ready to completed."""
    queues = [keys.queue(Queue.READY, pool), keys.queue(Queue.COMPLETED, pool)]
    return _guarded(
        db, "purge/purge_ready", [*queues, keys.COUNTERS], [keys.VM_PREFIX, counter(Queue.READY, pool)], batch
    )


def purge_completed(db: Database, pool: str, batch: Sequence[Candidate]) -> Batch:
    """Takes them out of completed."""
    queue = keys.queue(Queue.COMPLETED, pool)
    return _guarded(
        db, "purge/purge_completed", [queue, keys.COUNTERS], [keys.VM_PREFIX, counter(Queue.COMPLETED, pool)], batch
    )


def expire_orphans(db: Database, queues: Sequence[bytes], batch: Sequence[Candidate]) -> Batch:
    """Lets their metadata expire; `queues` are all queues of all pools."""
    return _guarded(
        db,
        "purge/expire_orphans",
        [keys.COUNTERS, keys.PURGE_BATCH, *queues],
        [ORPHAN_EXPIRY_SECONDS, keys.VM_PREFIX, counter(ORPHANED)],
        batch,
    )


def orphans_per_call(queues: int, most: int) -> int:
    """How many orphans one call may take: each is looked for in every queue."""
    return max(1, min(most, MEMBERSHIP_CHECKS // max(1, queues)))


def _guarded(
    db: Database, script: str, script_keys: Sequence[bytes], args: Sequence[Any], batch: Sequence[Candidate]
) -> Batch:
    words = [part for candidate in batch for part in (candidate.vm, candidate.stamp)]
    return Batch(db.begin(script, script_keys, [*args, *words]))


class PurgeLock(OwnedLock):
    """One purge cycle at a time, on all workers."""

    def __init__(self, db: Database, owner: str | None = None) -> None:
        super().__init__(db, keys.PURGE_LOCK, LOCK_SECONDS, "this purge cycle", owner)


Spared = tuple[str, str, float]
"""A queue that was left alone: pool, queue, and the share of it that was stale, in percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeState:
    """How the last purge cycles went; times in seconds since the epoch."""

    started: float | None = None
    finished: float | None = None
    running: bool = False
    failure: str | None = None
    spared: Sequence[Spared] = ()

    @property
    def unfinished_since(self) -> float | None:
        """When a cycle began that is over without having ended: its worker was killed."""
        if self.started is None or self.running or (self.finished is not None and self.finished >= self.started):
            return None
        return self.started


def record_start(db: Database, now: float) -> None:
    db.call("HSET", keys.PURGE_STATE, "started", repr(now))


def record_end(
    db: Database,
    *,
    span: tuple[float, float] | None,
    failure: str | None,
    spared: Sequence[Spared],
    trail: Mapping[str, Any],
) -> None:
    """Records how a purge ended, with its line in the audit, as one step. Works out of memory as well.

    `span` is when it began and ended, None for a part of a cycle, which says nothing of when the purge last ran.
    `spared` are all (pool, queue, percent) that are left alone from now on.
    """
    words = ["spared", json.dumps(spared)]
    took, within = 0.0, ""
    if span:
        words += ["started", repr(span[0]), "finished", repr(span[1]), "failure", failure or ""]
    if span and not failure:  # how soon one fails says nothing of how long they take
        took = max(span[1] - span[0], 0.0)
        within = duration_counter(next((bound for bound in DURATION_BOUNDS if took <= bound), None))
    db.run(
        "purge/record_end",
        [keys.PURGE_STATE, keys.AUDIT, keys.COUNTERS],
        [
            audit.MAX_ENTRIES,
            "purge_failures" if failure else "purge_cycles",
            within,
            repr(took),
            len(words),
            *words,
            *audit.words(trail),
        ],
    )


def read_state(db: Database) -> PurgeState:
    with db.translated_errors():
        # No transaction: Redis refuses one when it is out of memory, which is when the failure has to be read.
        pipe = db.client.pipeline(transaction=False)
        pipe.exists(keys.PURGE_LOCK)
        pipe.hgetall(keys.PURGE_STATE)
        pipe.exists(keys.PURGE_LOCK)  # again: a cycle that has just begun is no unfinished one
        was_locked, raw, is_locked = pipe.execute()
    state = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in raw.items()}
    return PurgeState(
        started=finite(state.get("started")),
        finished=finite(state.get("finished")),
        running=bool(was_locked or is_locked),
        failure=state.get("failure") or None,
        spared=_read_spared(state.get("spared", "[]")),
    )


def _read_spared(text: str) -> list[Spared]:
    """What cannot be read counts as nothing: the next cycle writes it anew."""
    try:
        return [(str(pool), str(queue), float(percent)) for pool, queue, percent in json.loads(text)]
    except (TypeError, ValueError, RecursionError):
        return []
