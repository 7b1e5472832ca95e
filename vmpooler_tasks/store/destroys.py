"""Destructions: taken on by one worker, ended or put off."""

from enum import StrEnum

from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.connection import Database

FORGOTTEN_SECONDS = 24 * 3600
"""After so long nothing is remembered of a VM that left completed by itself."""


class Claim(StrEnum):
    """What came of an attempt to take a destruction on."""

    OK = "ok"
    GONE = "gone"
    BUSY = "busy"


def claim(
    db: Database, vm: str, pool: str, *, owner: str, now: float, leased_until: float, stamp: bytes, keep_seconds: float
) -> tuple[Claim, int, int]:
    """(outcome, fence, attempts); `stamp` is now as VMPooler writes it."""
    raw = vm.encode()
    outcome, fence, attempts = db.run(
        "claim_destroy",
        [keys.queue(Queue.COMPLETED, pool), keys.DESTROYS, keys.work(raw), keys.FENCES, keys.vm(raw)],
        [vm, owner, repr(now), repr(leased_until), stamp, int(keep_seconds)],
    )
    return Claim(outcome.decode()), fence, attempts


def plan(db: Database, vms: list[bytes], *, now: float, until: float) -> None:
    """Their destruction is handed out to a worker; if none has taken it on by then, it is handed out again."""
    if vms:
        with db.translated_errors(keys.DESTROYS):
            pipe = db.client.pipeline(transaction=False)
            pipe.zadd(keys.DESTROYS, dict.fromkeys(vms, until))
            pipe.zremrangebyscore(keys.DESTROYS, "-inf", now - FORGOTTEN_SECONDS)
            pipe.execute()


def finish(db: Database, vm: str, pool: str, *, fence: int) -> bool:
    """False if another has taken it over."""
    raw = vm.encode()
    return bool(
        db.run(
            "finish_destroy",
            [keys.queue(Queue.COMPLETED, pool), keys.DESTROYS, keys.work(raw), keys.active(pool), keys.COUNTERS],
            [vm, fence],
        )
    )


def postpone(db: Database, vm: str, *, fence: int, until: float) -> bool:
    """False if another has taken it over."""
    return bool(db.run("postpone_destroy", [keys.DESTROYS, keys.work(vm.encode())], [vm, fence, repr(until)]))


def not_before(db: Database, vms: list[bytes]) -> list[float | None]:
    """Until when each is leased or put off; None if it never was."""
    with db.translated_errors(keys.DESTROYS):
        found: list[float | None] = db.client.zmscore(keys.DESTROYS, vms) if vms else []
        return found
