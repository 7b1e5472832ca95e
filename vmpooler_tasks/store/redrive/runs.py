"""Runs of redrives: the dead letters that each was started with, its progress, and where redriven VMs come from."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.errors import StoreRefusedError
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, read_dead_letter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.redrive import (
    LINEAGE_FIELDS,
    Lineage,
    RedriveOutcome,
    RunOptions,
    RunState,
    read_lineage,
)
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis.chunks import parts_by_size
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import count, finite

KEPT_SECONDS = 7 * 24 * 3600
"""How long a run is kept: it can be read and resumed until then."""

UNSTARTED_SECONDS = 600
"""How long the copies of a run are kept whose start was interrupted."""

MAX_PAGE = 500
MAX_PAGE_BYTES = 2**20
"""Maximum count and size of the dead letters that are read or written together."""

FAILED_AGAIN = "failed_again"

COUNTS = (
    *map(str, (RedriveOutcome.REDRIVEN, RedriveOutcome.OBSOLETE, RedriveOutcome.KEPT, RedriveOutcome.GONE)),
    FAILED_AGAIN,
)
"""Fields of a run that count its dead letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run and its progress. `position` is the index of the next dead letter, `started` seconds since the epoch."""

    id: str
    state: RunState
    position: int
    total: int
    counts: Mapping[str, int]
    who: str
    why: str | None
    rate: float
    max_failed_percent: float
    started: float
    confirmed: bool


def start(db: Database, run: str, dead_letters: Iterable[StoredDeadLetter], options: RunOptions, now: float) -> int:
    """Store a new run with a copy of its dead letters, and return how many it has. From now on it can be driven."""
    key = keys.redrive_dead_letters(run)
    total = sum(_add(db, key, part) for part in parts_by_size(dead_letters, _size, MAX_PAGE, MAX_PAGE_BYTES))
    fields = {
        "state": str(RunState.RUNNING),
        "position": 0,
        "total": total,
        "who": options.who,
        "why": options.why or "",
        "rate": repr(options.rate),
        "max_failed_percent": repr(options.max_failed_percent),
        "started": repr(now),
        "confirmed": int(options.confirmed),
    }
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        pipe.expire(key, KEPT_SECONDS)
        pipe.hset(keys.redrive(run), mapping=fields)  # last: a run that exists has all its dead letters
        pipe.expire(keys.redrive(run), KEPT_SECONDS)
        pipe.zadd(keys.REDRIVES, {run: now})
        pipe.zremrangebyscore(keys.REDRIVES, "-inf", now - KEPT_SECONDS)
        pipe.execute()
    return total


def _size(entry: StoredDeadLetter) -> int:
    return len(entry.raw)


def _add(db: Database, key: bytes, part: Sequence[StoredDeadLetter]) -> int:
    """Add dead letters to the copy of a run that has not started, and return their count."""
    with db.translated_errors(key):
        pipe = db.client.pipeline(transaction=False)
        pipe.rpush(key, *(b"%b\n%b" % (entry.queue.encode(), entry.raw) for entry in part))
        pipe.expire(key, UNSTARTED_SECONDS)
        pipe.execute()
    return len(part)


def read(db: Database, run: str) -> Run | None:
    """Return the run; None if it does not exist, or not any more."""
    with db.translated_errors(keys.redrive(run)):
        raw = db.client.hgetall(keys.redrive(run))
    found = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in raw.items()}
    if found.get("state") not in set(RunState):
        return None
    return Run(
        id=run,
        state=RunState(found["state"]),
        position=count(found.get("position")),
        total=count(found.get("total")),
        counts={name: count(found.get(name)) for name in COUNTS},
        who=found.get("who", ""),
        why=found.get("why") or None,
        rate=finite(found.get("rate")) or 0.0,
        max_failed_percent=finite(found.get("max_failed_percent")) or 0.0,
        started=finite(found.get("started")) or 0.0,
        confirmed=found.get("confirmed") == "1",
    )


def newest_first(db: Database) -> list[Run]:
    """Return all runs that are kept."""
    names = db.call("ZRANGE", keys.REDRIVES, 0, -1, "REV")
    return [run for name in names if (run := read(db, name.decode(errors="replace")))]


def read_page(db: Database, run: str, position: int) -> list[StoredDeadLetter]:
    """Return the run's copies of its dead letters from this position on: a page, bounded in bytes; [] behind the last.

    Each may have left its queue since.
    """
    page = db.run("redrive/page", [keys.redrive_dead_letters(run)], [position, MAX_PAGE, MAX_PAGE_BYTES])
    parts = (raw.partition(b"\n") for raw in page)
    return [read_dead_letter(DeadLetterQueue(queue.decode()), member, 0.0) for queue, _, member in parts]


def end(db: Database, run: Run, state: RunState) -> bool:
    """End the run and record it in the audit. Return False if it had ended before."""
    trail = audit.trail_words(
        {
            "action": "redrive",
            "who": run.who,
            "why": run.why,
            "run": run.id,
            "state": state,
            "selected": run.total,
        }
    )
    return bool(
        db.run(
            "redrive/end",
            [keys.redrive(run.id), keys.redrive_dead_letters(run.id), fleet_keys.AUDIT],
            [RunState.RUNNING, state, audit.MAX_ENTRIES, len(COUNTS), *COUNTS, *trail],
        )
    )


def count_failure(db: Database, run: str) -> None:
    """Count a successor of this run that has failed again, if the run is still kept.

    A count that is no number stays as it is.
    """
    if run and db.call("EXISTS", keys.redrive(run)):
        with suppress(StoreRefusedError):
            db.call("HINCRBY", keys.redrive(run), FAILED_AGAIN, 1)


def read_lineages(db: Database, vms: Iterable[str]) -> list[Lineage | None]:
    """Return the lineage of each VM; None for one that does not come from a dead letter."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for vm in vms:
            pipe.hmget(keys.work(vm.encode()), *LINEAGE_FIELDS)
        rows = pipe.execute(raise_on_error=False)
    return [read_lineage(_texts(LINEAGE_FIELDS, row)) for row in rows]


def _texts(names: Sequence[str], row: Any) -> dict[str, str]:
    values = row if isinstance(row, list) else ()
    return {name: value.decode(errors="replace") for name, value in zip(names, values, strict=False) if value}
