"""The state of the purge: its lock, and how its last cycles went."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.purge import SkippedQueue
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.locks import OwnedLock
from vmpooler_tasks.store.redis.numbers import finite

CYCLES = "purge_cycles"
FAILURES = "purge_failures"
SECONDS = "purge_seconds"
"""The names of counters: cycles that ended, cycles that failed, and the seconds that the former took together."""

DURATION_BOUNDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
"""The upper bounds of the histogram of durations, in seconds. A last bucket without a bound follows."""


class PurgeLock(OwnedLock):
    """The lock that lets one purge cycle run at a time, on all workers."""

    def __init__(self, db: Database, owner: str | None = None) -> None:
        super().__init__(db, keys.PURGE_LOCK, "this purge cycle", owner=owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeState:
    """How the last purge cycles went; times in seconds since the epoch."""

    started: float | None = None
    finished: float | None = None
    running: bool = False
    failure: str | None = None
    skipped_queues: Sequence[SkippedQueue] = ()

    @property
    def unfinished_since(self) -> float | None:
        """The start of a cycle that no longer runs and never finished: its worker was killed."""
        if self.started is None or self.running or (self.finished is not None and self.finished >= self.started):
            return None
        return self.started


def duration_counter(bound: float | None) -> str:
    """Return the name of the counter of cycles in one bucket; None is the last bucket."""
    return f"purge_cycles_within:{'inf' if bound is None else format(bound, 'g')}"


def record_start(db: Database, now: float) -> None:
    """Record that a cycle started `now`."""
    db.call("HSET", keys.PURGE_STATE, "started", repr(now))


def record_end(
    db: Database,
    *,
    span: tuple[float, float] | None,
    failure: str | None,
    skipped_queues: Sequence[SkippedQueue],
    trail: Mapping[str, Any],
) -> None:
    """Record in one step how a purge ended, with its entry in the audit. Works also while Redis is out of memory.

    `span` is when it started and ended; None for a part of a cycle, which says nothing of when the purge last ran.
    `skipped_queues` are all queues that are skipped from now on. `trail` holds the fields of the audit.
    """
    fields = ["skipped_queues", json.dumps(skipped_queues)]
    duration, bucket = 0.0, ""
    if span:
        fields += ["started", repr(span[0]), "finished", repr(span[1]), "failure", failure or ""]
    if span and not failure:  # the time after which a cycle fails says nothing of how long cycles take
        duration = max(span[1] - span[0], 0.0)
        bucket = duration_counter(next((bound for bound in DURATION_BOUNDS if duration <= bound), None))
    db.run(
        "purge/record_end",
        [keys.PURGE_STATE, fleet_keys.AUDIT, keys.COUNTERS],
        [
            audit.MAX_ENTRIES,
            FAILURES if failure else CYCLES,
            bucket,
            SECONDS,
            repr(duration),
            len(fields),
            *fields,
            *audit.trail_words(trail),
        ],
    )


def read(db: Database) -> PurgeState:
    """Return how the last cycles went, and whether one runs now."""
    with db.translated_errors():
        # Not a transaction: Redis refuses one while it is out of memory, which is when the failure has to be read.
        pipe = db.client.pipeline(transaction=False)
        pipe.exists(keys.PURGE_LOCK)
        pipe.hgetall(keys.PURGE_STATE)
        pipe.exists(keys.PURGE_LOCK)  # again: a cycle that started in between is not an unfinished one
        was_locked, raw, is_locked = pipe.execute(raise_on_error=False)
    raw = raw if isinstance(raw, dict) else {}  # of the wrong type: health names the key
    state = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in raw.items()}
    return PurgeState(
        started=finite(state.get("started")),
        finished=finite(state.get("finished")),
        running=bool(was_locked or is_locked),
        failure=state.get("failure") or None,
        skipped_queues=_parse_skipped_queues(state.get("skipped_queues", "[]")),
    )


def _parse_skipped_queues(text: str) -> list[SkippedQueue]:
    """Return the queues, or none if the text cannot be read: the next cycle writes it anew."""
    try:
        return [SkippedQueue(str(pool), str(queue), float(percent)) for pool, queue, percent in json.loads(text)]
    except (TypeError, ValueError, OverflowError, RecursionError):
        return []
