"""When the work of the pool workers last ended, by the server's clock, so that health sees work that stands still."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite
from vmpooler_tasks.store.redis.reads import Reads

CLONES_WORK = "clones"
"""Clones that ended, well or badly. The scripts that end a clone record them."""

REQUESTS_WORK = "requests"
"""Passes over all on-demand requests."""

GAP_INTERVALS = 3
MIN_GAP_SECONDS = 15.0
"""So many intervals without an end, and at least so many seconds, mean that the workers were stopped in between."""

RUN_SECONDS = 60.0
"""Work that ran for less time before a gap gets no new start: its worker may crash again and again."""


def inspections_of(pool: str) -> str:
    """Return the name of the inspections of a pool."""
    return f"inspection:{pool}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkProgress:
    """What is known of each work by its name. Work that never ended is missing.

    `idle_seconds`: since its last end. `running_seconds`: since its first end after the workers started. `errors`: of
    work that failed since then.
    """

    idle_seconds: Mapping[str, float] = field(default_factory=dict)
    running_seconds: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


def record_end(db: Database, work: str, interval_seconds: float) -> None:
    """Record that the work has ended well now. It is repeated at this interval."""
    gap = max(GAP_INTERVALS * interval_seconds, MIN_GAP_SECONDS)
    db.run("health/record_progress", [keys.PROGRESS], [work, gap, RUN_SECONDS])


def record_error(db: Database, work: str, error: str) -> None:
    """Keep the error (one line, without secrets) with which the work failed, until it ends well."""
    with suppress(VmpoolerTasksError):  # the caller reports the error itself
        db.call("HSET", keys.PROGRESS, f"error:{work}", error)


def read(db: Database) -> WorkProgress:
    """Return the progress of all work, in one round trip."""
    reads = Reads()
    reads.add("progress", "HGETALL", keys.PROGRESS)
    reads.add("time", "TIME")
    replies = reads.send(db)
    return parse(replies.get("progress", {}), float(replies.get("time")[0]))


def parse(raw: Mapping[bytes, bytes], now: float) -> WorkProgress:
    """Return the progress that the hash holds; `now` by the server's clock."""
    idle, running, errors = dict[str, float](), dict[str, float](), dict[str, str]()
    for name, value in ((readable(name), readable(value)) for name, value in raw.items()):
        if name.startswith("error:"):
            errors[name.removeprefix("error:")] = value
        elif (epoch := finite(value)) is not None:
            seconds = max(0.0, now - epoch)
            target = running if name.startswith("since:") else idle
            target[name.removeprefix("since:")] = seconds
    return WorkProgress(idle_seconds=idle, running_seconds=running, errors=errors)
