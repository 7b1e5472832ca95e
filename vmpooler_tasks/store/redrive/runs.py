"""Runs of redrives: their frozen letters, and one letter after another, each in one atomic step with its successor."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, read_dead_letter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.redrive import Lineage, Outcome, RunState, read_lineage
from vmpooler_tasks.model.requests import Wanted
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.pools.clones import slots_for
from vmpooler_tasks.store.redis.arguments import counted_words
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite
from vmpooler_tasks.store.requests.fulfilment import around_count

KEPT_SECONDS = 7 * 24 * 3600
"""For so long a run can be resumed, and looked at."""

COUNTED = ("redriven", "obsolete", "kept", "gone", "failed_again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it stands; `position`: the letter that comes next. `started` in seconds since the epoch."""

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


def start(
    db: Database,
    run: str,
    letters: Sequence[StoredDeadLetter],
    *,
    who: str,
    why: str | None,
    rate: float,
    max_failed_percent: float,
    now: float,
) -> None:
    """Freezes the letters; the run can be gone on with from now on."""
    fields = {
        "state": str(RunState.RUNNING),
        "position": 0,
        "total": len(letters),
        "who": who,
        "why": why or "",
        "rate": repr(rate),
        "max_failed_percent": repr(max_failed_percent),
        "started": repr(now),
    }
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for page in chunks(letters):
            pipe.rpush(keys.redrive_letters(run), *(b"%b\n%b" % (one.queue.encode(), one.raw) for one in page))
        pipe.expire(keys.redrive_letters(run), KEPT_SECONDS)
        pipe.hset(keys.redrive(run), mapping=fields)  # last: a run that is there has all its letters
        pipe.expire(keys.redrive(run), KEPT_SECONDS)
        pipe.zadd(keys.REDRIVES, {run: now})
        pipe.zremrangebyscore(keys.REDRIVES, "-inf", now - KEPT_SECONDS)
        pipe.execute()


def read(db: Database, run: str) -> Run | None:
    """None if there is no such run, or no longer."""
    with db.translated_errors(keys.redrive(run)):
        raw = db.client.hgetall(keys.redrive(run))
    found = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in raw.items()}
    if found.get("state") not in set(RunState):
        return None
    return Run(
        id=run,
        state=RunState(found["state"]),
        position=int(found.get("position", 0)),
        total=int(found.get("total", 0)),
        counts={name: int(found.get(name, 0)) for name in COUNTED},
        who=found.get("who", ""),
        why=found.get("why") or None,
        rate=finite(found.get("rate")) or 0.0,
        max_failed_percent=finite(found.get("max_failed_percent")) or 0.0,
        started=finite(found.get("started")) or 0.0,
    )


def newest_first(db: Database) -> list[Run]:
    names = db.call("ZRANGE", keys.REDRIVES, 0, -1, "REV")
    return [run for name in names if (run := read(db, name.decode(errors="replace")))]


def letter_at(db: Database, run: str, position: int) -> StoredDeadLetter | None:
    """The frozen letter at that place, whether it is still in its queue or not; None behind the last."""
    raw = db.call("LINDEX", keys.redrive_letters(run), position)
    if raw is None:
        return None
    queue, _, member = raw.partition(b"\n")
    return read_dead_letter(DeadLetterQueue(queue.decode()), member, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """The VM to be begun in the place of a failed one. `wanted`: how many its pool, or its request of it, is to have.

    `limit` is None where VMPooler's own manager makes the clones.
    """

    pool: str
    wanted: int | None
    limit: int | None
    leased_until: float
    metadata: Mapping[str, Any]
    lineage: Lineage
    names: Sequence[str]
    request_id: bytes | None = None
    alias: str = ""


def redrive_vm(
    db: Database, run: str, position: int, letter: StoredDeadLetter, successor: Successor
) -> tuple[Outcome, str | None]:
    """(what became of the letter, the VM that was begun)."""
    request_id, pool = successor.request_id or b"", successor.pool
    slots = slots_for(successor.request_id)
    before, behind = around_count(Wanted(successor.alias, pool, 0), request_id)
    outcome, vm = db.run(
        "redrive/redrive_vm",
        [
            keys.dead_letters(letter.queue),
            keys.redrive(run),
            keys.COUNTERS,
            *(keys.queue(queue, pool) for queue in (Queue.PENDING, Queue.READY, Queue.RUNNING)),
            slots.key,
            slots.counter,
            keys.request(request_id),
            keys.delivered(request_id, successor.alias, pool),
            keys.PENDING_ONDEMAND_CLONES,
        ],
        [
            position,
            letter.raw,
            letter.queue,
            letter.text("vm"),
            int(successor.request_id is not None),
            _or_blank(successor.wanted),
            _or_blank(successor.limit),
            repr(successor.leased_until),
            keys.VM_PREFIX,
            keys.WORK_PREFIX,
            request_id,
            successor.alias,
            before,
            behind,
            *counted_words(successor.metadata),
            *counted_words(successor.lineage.as_fields()),
            *successor.names,
        ],
    )
    return Outcome(outcome.decode()), vm.decode() or None


def _or_blank(number: int | None) -> int | str:
    return "" if number is None else number


def redrive_task(
    db: Database,
    run: str,
    position: int,
    letter: StoredDeadLetter,
    *,
    queue: str = "",
    message: bytes | None = None,
    completed: tuple[str, str] | None = None,
    decided: Outcome | None = None,
) -> Outcome:
    """What became of the letter. `message` is put at the end of the workers' `queue`, unless it is empty.

    Without one, what would be run again stays where it is. `completed` is a (VM, pool) that has to wait for its
    destruction, or the letter is obsolete.
    """
    vm, pool = completed or ("", "")
    filled = queue.encode() or keys.dead_letters(letter.queue)  # none is filled; a key without a name may be forbidden
    outcome = db.run(
        "redrive/redrive_task",
        [keys.dead_letters(letter.queue), keys.redrive(run), keys.COUNTERS, filled, keys.queue(Queue.COMPLETED, pool)],
        [position, letter.raw, letter.queue, message or b"", vm, decided or "", int(message is None)],
    )
    return Outcome(outcome.decode())


def pass_over(db: Database, run: str, position: int) -> Outcome:
    """What became of the letter at that place, which is not known any more: it is gone, unless the run has ended."""
    nothing = StoredDeadLetter(DeadLetterQueue.TASKS, b"", 0.0, {})
    return redrive_task(db, run, position, nothing, decided=Outcome.GONE)


def end(db: Database, run: Run, state: RunState) -> bool:
    """Ends the run with a line in the audit. False if it had ended before."""
    trail = audit.words(
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
            [keys.redrive(run.id), keys.redrive_letters(run.id), keys.AUDIT],
            [state, audit.MAX_ENTRIES, *trail],
        )
    )


def note_failure(db: Database, run: str) -> None:
    """A successor of this run has failed."""
    if run and db.call("EXISTS", keys.redrive(run)):
        db.call("HINCRBY", keys.redrive(run), "failed_again", 1)


def lineage(db: Database, vms: Iterable[str]) -> list[Lineage | None]:
    """Where each VM comes from, if a letter was redriven for it."""
    names = ("redrive_of", "redrives", "retry_count", "run")
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for vm in vms:
            pipe.hmget(keys.work(vm.encode()), *names)
        rows = pipe.execute(raise_on_error=False)
    return [read_lineage(_texts(names, row)) for row in rows]


def _texts(names: Sequence[str], row: Any) -> dict[str, str]:
    values = row if isinstance(row, list) else ()
    return {name: value.decode(errors="replace") for name, value in zip(names, values, strict=False) if value}
