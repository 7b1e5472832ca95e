"""Clones in flight: begun, taken on by a worker, made or failed. Each step is one script, guarded by a fence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vmpooler_tasks.model.deadletters.entry import DeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, readable
from vmpooler_tasks.model.requests import RequestRetry
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed, limit_words
from vmpooler_tasks.store.keys import Slots
from vmpooler_tasks.store.pools.handover import Arrival, Handover
from vmpooler_tasks.store.redis.arguments import counted_words, field_words
from vmpooler_tasks.store.redis.connection import Database

REAPED_AT_ONCE = 500


class Claim(StrEnum):
    """What came of an attempt to take a clone on."""

    OK = "ok"
    GONE = "gone"
    DONE = "done"
    BUSY = "busy"
    OPEN = "open"
    WORN = "worn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedClone:
    """A clone and who holds it. `attempts` counts those that began and never ended, this one included.

    `template` and `clone_target` are the overrides in effect.
    """

    claim: Claim
    fence: int
    attempts: int
    open_until: float | None
    request_id: bytes | None
    pool_alias: bytes | None
    begun: bytes | None
    template: str | None
    clone_target: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedClone:
    """What a failure did. `failed`: the VM was pending until now."""

    failed: bool
    trimmed: Trimmed
    request_outcome: str
    request_retries: int
    open_until: float | None


def slots_for(request_id: str | bytes | None) -> Slots:
    """Clones for requests have slots of their own."""
    return keys.REQUEST_SLOTS if request_id else keys.POOL_SLOTS


def begin(
    db: Database,
    pool: str,
    names: Sequence[str],
    *,
    size: int,
    task_limit: int,
    leased_until: float,
    metadata: Mapping[str, Any],
) -> tuple[list[str], int, int]:
    """(the names begun, ready, pending): as many of `names` as the pool is short of and the slots allow."""
    slots = keys.POOL_SLOTS
    begun, ready, pending = db.run(
        "pools/start_clones",
        [keys.queue(Queue.PENDING, pool), keys.queue(Queue.READY, pool), slots.key, slots.counter],
        [size, task_limit, repr(leased_until), keys.VM_PREFIX, keys.WORK_PREFIX, *counted_words(metadata), *names],
    )
    return [name.decode() for name in begun], ready, pending


def claim(
    db: Database,
    vm: str,
    pool: str,
    provider: str,
    slots: Slots,
    *,
    owner: str,
    now: float,
    stamp: bytes,
    leased_until: float,
    most_attempts: int,
) -> ClaimedClone:
    raw = vm.encode()
    outcome, fence, attempts, open_until, request_id, pool_alias, begun, template, target = db.run(
        "pools/claim_clone",
        [
            keys.queue(Queue.PENDING, pool),
            slots.key,
            slots.counter,
            keys.work(raw),
            keys.FENCES,
            keys.breaker(provider),
            keys.vm(raw),
            keys.POOL_TEMPLATES,
            keys.POOL_CLONE_TARGETS,
        ],
        [vm, owner, repr(now), repr(leased_until), most_attempts, pool, stamp],
    )
    return ClaimedClone(
        claim=Claim(outcome.decode()),
        fence=fence,
        attempts=attempts,
        open_until=float(open_until) if open_until else None,
        request_id=request_id,
        pool_alias=pool_alias,
        begun=begun,
        template=None if template is None else readable(template),
        clone_target=None if target is None else readable(target),
    )


class Finished(StrEnum):
    """What a clone that is made came to, beside what becomes of a VM that is ready (`Handover`)."""

    PENDING = "pending"
    """It is not ready yet."""

    LOST = "lost"
    """Another holder has taken it over."""

    LEFT = "left"
    """It was not pending any more."""


def finish(
    db: Database,
    vm: str,
    pool: str,
    provider: str,
    slots: Slots,
    *,
    fence: int,
    seconds: str,
    ready: bool,
    arrival: Arrival,
    metadata: Mapping[str, Any],
) -> Finished | Handover:
    """Keeps what is known of it, and hands it on if it is `ready`."""
    outcome = db.run(
        "pools/finish_clone",
        [
            *arrival.keys(vm.encode(), pool),
            slots.key,
            slots.counter,
            keys.breaker(provider),
            keys.statistics("clone", arrival.day),
            keys.pool_breaker(pool),
        ],
        [*arrival.words(vm, pool), fence, seconds, int(ready), *field_words(metadata)],
    ).decode()
    return Finished(outcome) if outcome in set(Finished) else Handover(outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRule:
    """After so many failures in a row the provider is left alone for so long.

    `of_pool`: the pool alone, since its own configuration is what makes them fail.
    """

    failures: int
    seconds: float
    of_pool: bool


def fail(
    db: Database,
    vm: str,
    pool: str,
    provider: str,
    slots: Slots,
    *,
    owner: str,
    now: float,
    letter: DeadLetter,
    limits: DeadLetterLimits | None,
    keep_seconds: float,
    retry: RequestRetry,
    breaker: BreakerRule,
) -> FailedClone:
    """It counts unless somebody other than `owner` has the clone, or has made it.

    Without `limits`, dead letters being off, there is no letter.
    """
    raw = vm.encode()
    state, dropped, expired, outcome, retries, open_until = db.run(
        "pools/fail_clone",
        [
            keys.queue(Queue.PENDING, pool),
            slots.key,
            slots.counter,
            keys.work(raw),
            keys.pool_breaker(pool) if breaker.of_pool else keys.breaker(provider),
            keys.vm(raw),
            keys.dead_letters(DeadLetterQueue.CLONE),
            keys.DEAD_LETTER_IDS,
            keys.COUNTERS,
            keys.request(retry.request_id),
            keys.PENDING_ONDEMAND_CLONES,
        ],
        [
            vm,
            owner,
            repr(now),
            *limit_words(limits),
            letter.id,
            letter.member(),
            int(keep_seconds),
            letter.error_message or "",
            letter.error_class or "",
            int(retry.permanent),
            retry.most_retries,
            retry.item,
            retry.reason,
            breaker.failures,
            breaker.seconds,
        ],
    )
    return FailedClone(
        failed=state == 1,
        trimmed=Trimmed(dropped, expired),
        request_outcome=outcome.decode(),
        request_retries=retries,
        open_until=float(open_until) if open_until else None,
    )


def reap(db: Database, slots: Slots, *, now: float, leased_until: float) -> list[tuple[str, str]]:
    """(VM, pool) of the clones whose lease has run out: their worker is gone, or they were never taken on."""
    found = db.run(
        "pools/reap_clones",
        [slots.key, slots.counter],
        [
            repr(now),
            repr(leased_until),
            keys.VM_PREFIX,
            keys.WORK_PREFIX,
            keys.queue(Queue.PENDING, ""),
            REAPED_AT_ONCE,
        ],
    )
    names = [name.decode() for name in found]
    return list(zip(names[::2], names[1::2], strict=True))


def is_in_flight(db: Database, vm: str) -> bool:
    """Whether it is being cloned, or waits to be."""
    with db.translated_errors(keys.POOL_SLOTS.key, keys.REQUEST_SLOTS.key):
        pipe = db.client.pipeline(transaction=False)
        for slots in (keys.POOL_SLOTS, keys.REQUEST_SLOTS):
            pipe.zscore(slots.key, vm)
        return any(score is not None for score in pipe.execute())


def in_flight(db: Database) -> set[bytes]:
    """All VMs that are being cloned, for pools and requests."""
    with db.translated_errors(keys.POOL_SLOTS.key, keys.REQUEST_SLOTS.key):
        pipe = db.client.pipeline(transaction=False)
        for slots in (keys.POOL_SLOTS, keys.REQUEST_SLOTS):
            pipe.zrange(slots.key, 0, -1)
        return {vm for found in pipe.execute() for vm in found}
