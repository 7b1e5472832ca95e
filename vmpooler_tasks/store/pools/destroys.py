"""Destructions: taken on by one worker, ended or put off."""

from collections.abc import Sequence
from enum import StrEnum

from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database

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
        "pools/claim_destroy",
        [keys.queue(Queue.COMPLETED, pool), keys.DESTROYS, keys.work(raw), keys.FENCES, keys.vm(raw)],
        [vm, owner, repr(now), repr(leased_until), stamp, int(keep_seconds)],
    )
    return Claim(outcome.decode()), fence, attempts


def plan(db: Database, vms: Sequence[bytes], *, now: float, until: float) -> list[bytes]:
    """Those of these whose destruction is handed out now: nobody does it, and it was not put off.

    If no worker has taken one on by `until`, it is handed out again.
    """
    due: list[bytes] = []
    for page in chunks(vms):
        due += db.run(
            "pools/plan_destroys",
            [keys.DESTROYS, keys.POOL_SLOTS.key, keys.REQUEST_SLOTS.key],
            [repr(now), repr(until), repr(now - FORGOTTEN_SECONDS), keys.WORK_PREFIX, *page],
        )
    return due


def finish(db: Database, vm: str, pool: str, *, fence: int) -> bool:
    """False if another has taken it over."""
    raw = vm.encode()
    return bool(
        db.run(
            "pools/finish_destroy",
            [keys.queue(Queue.COMPLETED, pool), keys.DESTROYS, keys.work(raw), keys.active(pool), keys.COUNTERS],
            [vm, fence],
        )
    )


def postpone(db: Database, vm: str, *, fence: int, until: float) -> bool:
    """False if another has taken it over."""
    return bool(db.run("pools/postpone_destroy", [keys.DESTROYS, keys.work(vm.encode())], [vm, fence, repr(until)]))
