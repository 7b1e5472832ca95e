"""Destructions: planned, claimed by one worker, finished or postponed."""

from collections.abc import Sequence
from dataclasses import dataclass

from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.results import DestroyClaim, DestroyResult
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.vmpooler.delivered import read_replacement

FORGOTTEN_SECONDS = 24 * 3600
"""After so long the record of a destruction is dropped whose VM left completed in another way."""


@dataclass(frozen=True, slots=True)
class ClaimedDestroy:
    """The result of a claim. `attempts` counts all attempts of this destruction, this one included.

    `is_first`: its metadata did not say before that its destruction had started. `is_replaced`: the open request that
    the VM was delivered to gets another.
    """

    claim: DestroyClaim
    fence: int
    attempts: int
    is_first: bool
    is_replaced: bool


def claim(
    db: Database, vm: str, pool: str, *, owner: str, now: float, leased_until: float, stamp: bytes, keep_seconds: float
) -> ClaimedDestroy:
    """Claim the destruction for this owner until then. `stamp` is `now` as VMPooler writes it."""
    raw = vm.encode()
    replacement = read_replacement(db, raw, pool)
    outcome, fence, attempts, is_first, replaced = db.run(
        "pools/claim_destroy",
        [
            *(keys.queue(Queue.COMPLETED, pool), keys.DESTROYS, keys.work(raw), keys.FENCES, keys.vm(raw)),
            *replacement.keys(),
            keys.queue(Queue.RUNNING, pool),
        ],
        [vm, owner, repr(now), repr(leased_until), stamp, int(keep_seconds), *replacement.words()],
    )
    return ClaimedDestroy(DestroyClaim(outcome.decode()), fence, attempts, bool(is_first), bool(replaced))


def plan(db: Database, pool: str, vms: Sequence[bytes], *, now: float, until: float, maximum: int) -> list[bytes]:
    """Plan the destructions of these completed VMs that no worker holds and that are not postponed. Return those VMs.

    A plan that no worker claims by `until` is made again. At most `maximum` of the VMs are planned or with a worker.
    """
    planned: list[bytes] = []
    for page in chunks(vms):
        count, found = db.run(
            "pools/plan_destroys",
            [keys.DESTROYS, keys.queue(Queue.COMPLETED, pool), keys.POOL_SLOTS.key, keys.REQUEST_SLOTS.key],
            [repr(now), repr(until), repr(now - FORGOTTEN_SECONDS), keys.WORK_PREFIX, maximum, *page],
        )
        planned += found
        maximum -= count
        if maximum <= 0:
            break
    return planned


def finish(
    db: Database,
    vm: str,
    pool: str,
    *,
    fence: int,
    is_missing: bool,
    now: float,
    pause: float,
) -> DestroyResult:
    """Remove a destroyed VM from completed and migrating. Return DESTROYED; LOST if another worker took the lease over.

    `is_missing`: its provider did not have it, and no attempt before this one may have destroyed it. If the brake of
    the pool is engaged, it stays completed for `pause` seconds, and the result is HELD.
    """
    raw = vm.encode()
    outcome = db.run(
        "pools/finish_destroy",
        [
            keys.queue(Queue.COMPLETED, pool),
            keys.DESTROYS,
            keys.work(raw),
            keys.active(pool),
            keys.COUNTERS,
            keys.BRAKES,
            keys.vm(raw),
            keys.queue(Queue.MIGRATING, pool),
        ],
        [vm, fence, pool if is_missing else "", repr(now + pause), pause],
    )
    return {1: DestroyResult.DESTROYED, 0: DestroyResult.LOST, -1: DestroyResult.HELD}[outcome]


def postpone(db: Database, vm: str, *, fence: int, now: float, pause: float) -> bool:
    """Postpone a destruction that failed by `pause` seconds. Return False if another worker took the lease over."""
    affected = [keys.DESTROYS, keys.work(vm.encode())]
    return bool(db.run("pools/postpone_destroy", affected, [vm, fence, repr(now + pause), pause]))
