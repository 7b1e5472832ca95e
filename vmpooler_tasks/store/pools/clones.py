"""Clones in flight: started, claimed by a worker, finished or failed. A fence guards each step; each is one script."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.pools.results import CloneClaim, CloneResult
from vmpooler_tasks.model.requests import RequestRetry
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.keys import Slots
from vmpooler_tasks.store.pools.breakers import BreakerLimits
from vmpooler_tasks.store.pools.failures import DeadLetterWrite, FailedVm, read_failed_vm, retry_keys, retry_words
from vmpooler_tasks.store.pools.handover import Handover
from vmpooler_tasks.store.redis.arguments import counted_words, field_words
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.reads import Reads

_SLOTS = (keys.POOL_SLOTS, keys.REQUEST_SLOTS)

MAX_CLONES_READ = 200
"""Clones that health reads of each kind: more than any installation has in flight."""

REAP_PAGE = 500
"""Clones that one call takes from dead workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneRef:
    """One clone: its VM and pool, the provider that makes it, and the slots that it counts against."""

    vm: str
    pool: str
    provider: str
    slots: Slots

    def keys(self) -> list[bytes]:
        """Return the keys of pending, the slots, their counter, the watch, and the work."""
        return [keys.queue(Queue.PENDING, self.pool), *self.slots, keys.work(self.vm.encode())]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedClone:
    """The result of a claim, and what the worker has to know of the clone.

    `attempts` counts the claims that did not finish the clone, this one included. `suspended_until` is an epoch.
    `started` is the VM's `clone` timestamp. `template` and `clone_target` are overrides in effect.
    """

    claim: CloneClaim
    fence: int
    attempts: int
    suspended_until: float | None
    request_id: bytes | None
    pool_alias: bytes | None
    started: bytes | None
    template: str | None
    clone_target: str | None


@dataclass(frozen=True, slots=True)
class StartedClones:
    """The VMs whose clones were started, and how many VMs the pool has in ready and pending with them."""

    vms: Sequence[str]
    ready: int
    pending: int


@dataclass(frozen=True, slots=True)
class CloneBreaker:
    """How a failed clone counts against the breakers: against its pool alone (`of_pool`) after a permanent error.

    `error`: the failure as the breakers keep it, on one line without secrets.
    """

    limits: BreakerLimits
    of_pool: bool
    error: str


def slots_for(request_id: str | bytes | None) -> Slots:
    """Return the slots of clones for requests, or, without a request, of clones for pools."""
    return keys.REQUEST_SLOTS if request_id else keys.POOL_SLOTS


def start(
    db: Database,
    pool: str,
    names: Sequence[str],
    *,
    size: int,
    max_clones: int,
    now: float,
    leased_until: float,
    metadata: Mapping[str, Any],
) -> StartedClones:
    """Start as many clones, under the first free of `names`, as the pool needs and slots are free.

    A paused pool gets none.
    """
    slots = keys.POOL_SLOTS
    vms, ready, pending = db.run(
        "pools/start_clones",
        [keys.queue(Queue.PENDING, pool), keys.queue(Queue.READY, pool), *slots, keys.PAUSED, keys.MOVED],
        [
            *(pool, size, max_clones, repr(leased_until), keys.VM_PREFIX, keys.WORK_PREFIX, repr(now)),
            *counted_words(metadata),
            *names,
        ],
    )
    return StartedClones([vm.decode() for vm in vms], ready, pending)


def claim(
    db: Database, clone: CloneRef, *, owner: str, now: float, stamp: bytes, leased_until: float, max_attempts: int
) -> ClaimedClone:
    """Claim the clone for this owner until then. `stamp` is `now` as VMPooler writes it.

    The clone of a pool that is paused, or suspended after failures that may pass, is taken back: the VM leaves pending,
    and its request waits again.
    """
    outcome, fence, attempts, suspended_until, request_id, pool_alias, started, template, target = db.run(
        "pools/claim_clone",
        [
            *clone.keys(),
            keys.FENCES,
            keys.breaker(clone.provider),
            keys.vm(clone.vm.encode()),
            keys.POOL_TEMPLATES,
            keys.POOL_CLONE_TARGETS,
            keys.PAUSED,
            keys.queue(Queue.COMPLETED, clone.pool),
            keys.PENDING_ONDEMAND_CLONES,
            keys.pool_breaker(clone.pool),
        ],
        [clone.vm, clone.pool, owner, repr(now), repr(leased_until), max_attempts, stamp, keys.request(b"")],
    )
    return ClaimedClone(
        claim=CloneClaim(outcome.decode()),
        fence=fence,
        attempts=attempts,
        suspended_until=float(suspended_until) if suspended_until else None,
        request_id=request_id,
        pool_alias=pool_alias,
        started=started,
        template=None if template is None else readable(template),
        clone_target=None if target is None else readable(target),
    )


def take_back(db: Database, pool: str, vms: Sequence[bytes], *, now: float, stopped: bytes = keys.PAUSED) -> list[str]:
    """Take back those of these pending VMs of a stopped pool whose clones no worker holds. Return them.

    `stopped`: the hash that must name the pool at that instant, of paused pools or of removed ones. The VMs leave
    pending, and their requests wait again. A VM that a dead worker may have made goes to completed.
    """
    taken: list[bytes] = []
    for page in chunks(vms):
        taken += db.run(
            "pools/take_back_clones",
            [
                stopped,
                *(keys.queue(queue, pool) for queue in (Queue.PENDING, Queue.COMPLETED)),
                keys.PENDING_ONDEMAND_CLONES,
                *keys.POOL_SLOTS,
                *keys.REQUEST_SLOTS,
            ],
            [pool, repr(now), keys.VM_PREFIX, keys.WORK_PREFIX, keys.request(b""), *page],
        )
    return [vm.decode(errors="backslashreplace") for vm in taken]


def finish(
    db: Database,
    clone: CloneRef,
    handover: Handover,
    *,
    fence: int,
    seconds: str,
    ready: bool,
    metadata: Mapping[str, Any],
) -> CloneResult:
    """Write the metadata of a finished clone, free its slot, and hand the VM over if it is `ready`."""
    outcome = db.run(
        "pools/finish_clone",
        [
            *handover.keys(),
            *clone.slots,
            keys.breaker(clone.provider),
            keys.pool_breaker(clone.pool),
            keys.statistics("clone", handover.day),
            keys.PROGRESS,
        ],
        [*handover.words(), fence, seconds, int(ready), *field_words(metadata)],
    )
    return CloneResult(outcome.decode())


def fail(
    db: Database,
    clone: CloneRef,
    *,
    owner: str,
    now: float,
    dead_letter: DeadLetterWrite,
    retry: RequestRetry,
    breaker: CloneBreaker,
    keep_seconds: float,
) -> FailedVm:
    """Fail the clone, unless another worker than `owner` holds the lease or has finished the clone."""
    entry, limits = dead_letter.entry, breaker.limits
    reply = db.run(
        "pools/fail_clone",
        [
            *clone.keys(),
            keys.breaker(clone.provider),
            keys.vm(clone.vm.encode()),
            *dead_letter.keys(),
            *retry_keys(retry),
            keys.PROGRESS,
            keys.pool_breaker(clone.pool),
        ],
        [
            *(clone.vm, owner, repr(now), int(keep_seconds), entry.error_message or "", entry.error_class or ""),
            *limits.words(),
            *dead_letter.words(),
            *retry_words(retry),
            *(breaker.error, clone.pool, int(breaker.of_pool)),
        ],
    )
    return read_failed_vm(reply)


def reap(db: Database, slots: Slots, *, now: float, leased_until: float, latest: float) -> list[tuple[str, str]]:
    """Return (VM, pool) of clones whose lease has ended, and lease them until then for the next worker.

    Their worker died, no worker ever claimed them, or they wait until later than `latest`, because a clock was wrong.
    """
    reaped = db.run(
        "pools/reap_clones",
        [*slots],
        [
            *(repr(now), repr(leased_until), keys.VM_PREFIX, keys.WORK_PREFIX, keys.queue(Queue.PENDING, "")),
            *(REAP_PAGE, repr(latest)),
        ],
    )
    names = [name.decode() for name in reaped]
    return list(zip(names[::2], names[1::2], strict=True))


def restore_slots(db: Database, slots: Slots, pool: str, vms: Sequence[bytes], *, leased_until: float) -> list[bytes]:
    """Give those of these pending VMs a slot again whose clones have lost it, and return them.

    The key that held the slot was lost. The slot is leased until then, for the worker that may still make the clone.
    """
    if not vms:
        return []
    restored: list[bytes] = db.run(
        "pools/restore_slots",
        [*slots, keys.queue(Queue.PENDING, pool)],
        [repr(leased_until), keys.VM_PREFIX, keys.WORK_PREFIX, *vms],
    )
    return restored


@dataclass(frozen=True, slots=True)
class CloneInFlight:
    """A clone that waits for a worker or is being made.

    `is_claimed`: a worker has it, and its lease has not ended. `started`: when it was handed out or claimed, as
    VMPooler writes it.
    """

    vm: str
    pool: str
    is_claimed: bool
    started: bytes


def read_in_flight(db: Database, now: float) -> list[CloneInFlight]:
    """Return the clones whose leases end first, at most MAX_CLONES_READ for pools and for requests each."""
    reads = Reads()
    for slots in _SLOTS:
        reads.add(slots.key, "ZRANGE", slots.key, 0, MAX_CLONES_READ - 1, "WITHSCORES")
    replies = reads.send(db)
    leases = [lease for slots in _SLOTS for lease in replies.get(slots.key, ())]
    details = Reads()
    for vm, _ in leases:
        details.add(("vm", vm), "HMGET", keys.vm(vm), "pool", "clone")
        details.add(("owner", vm), "HGET", keys.work(vm), "owner")
    found = details.send(db)
    clones = []
    for vm, leased_until in leases:
        pool, started = found.get(("vm", vm), (None, None))
        is_claimed = found.get(("owner", vm)) is not None and float(leased_until) > now
        if pool is not None and started is not None:
            clones.append(CloneInFlight(readable(vm), readable(pool), is_claimed, started))
    return clones


def is_in_flight(db: Database, vm: str) -> bool:
    """Return True if the VM's clone is running or waits for a worker."""
    with db.translated_errors(keys.POOL_SLOTS.key, keys.REQUEST_SLOTS.key):
        pipe = db.client.pipeline(transaction=False)
        for slots in _SLOTS:
            pipe.zscore(slots.key, vm)
        return any(score is not None for score in pipe.execute())


def in_flight(db: Database) -> set[bytes]:
    """Return all VMs whose clones are running or wait for a worker, for pools and requests."""
    with db.translated_errors(keys.POOL_SLOTS.key, keys.REQUEST_SLOTS.key):
        pipe = db.client.pipeline(transaction=False)
        for slots in _SLOTS:
            pipe.zrange(slots.key, 0, -1)
        return {vm for found in pipe.execute() for vm in found}


def count_by_pool(db: Database) -> dict[str, int]:
    """Return how many pending VMs of each pool are being cloned, in one round trip, or three if there are any."""
    in_flight = sorted(set().union(*_read(db, [("ZRANGE", slots.key, 0, -1) for slots in _SLOTS])))
    vms: defaultdict[str, list[bytes]] = defaultdict(list)
    for vm, pool in zip(in_flight, _read(db, [("HGET", keys.vm(vm), "pool") for vm in in_flight]), strict=True):
        if pool:
            vms[readable(pool)].append(vm)
    pending = _read(db, [("SMISMEMBER", keys.queue(Queue.PENDING, pool), *names) for pool, names in vms.items()])
    return {pool: sum(flags) for pool, flags in zip(vms, pending, strict=True)}


def _read(db: Database, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return the replies; a key of another type holds nothing."""
    reads = Reads()
    for number, command in enumerate(commands):
        reads.add(number, *command)
    replies = reads.send(db)
    return [replies.get(number, ()) for number in range(len(commands))]
