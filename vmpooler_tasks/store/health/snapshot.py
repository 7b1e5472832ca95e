"""What Redis holds at one instant, read in one round trip: for health, metrics and the overview.

A key of another type than expected, or one that may not be read, counts as missing: it must not hide the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.fleet import Fleet
from vmpooler_tasks.model.guards.brake import Brake
from vmpooler_tasks.model.guards.foreign import ForeignVms
from vmpooler_tasks.model.guards.removed import RemovedPoolState
from vmpooler_tasks.model.health.dns_failures import FailingDns
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, readable
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.pools.pause import Pause
from vmpooler_tasks.model.pools.sizes import size_in_effect
from vmpooler_tasks.model.pools.suspension import LastError
from vmpooler_tasks.store import broker_keys, fleet_keys, keys
from vmpooler_tasks.store.dns.failures import parse_failures
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.fleet.pool_lists import with_pool_lists
from vmpooler_tasks.store.fleet.schedule import CLAIM_SUFFIX
from vmpooler_tasks.store.guards.brakes import parse_brakes
from vmpooler_tasks.store.guards.foreign import parse_foreign
from vmpooler_tasks.store.guards.removed_pools import read_states
from vmpooler_tasks.store.health.record import read_errors, read_times, status_key
from vmpooler_tasks.store.orders.vm_orders import ORDER_KEYS
from vmpooler_tasks.store.pools.breakers import ERROR_FIELDS
from vmpooler_tasks.store.pools.pauses import parse_pause
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite, leading_number, parse_last_error
from vmpooler_tasks.store.redis.reads import Reads, Replies

COUNTED_QUEUES = (Queue.PENDING, Queue.READY, Queue.RUNNING, Queue.COMPLETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """One pool. `override`: its size as it was set through the API; `registered_size`: as VMPooler registered it.

    `vms` lacks a queue whose key is of another type. `suspended_until`: epoch until which the circuit breaker suspends
    the pool (in the past: until a clone succeeds), None if it does not. `pause`: by its operator, or None.
    `last_error`: the failure that the breaker counted last.
    """

    override: str | None
    registered_size: int
    vms: Mapping[Queue, int]
    suspended_until: float | None
    pause: Pause | None = None
    last_error: LastError | None = None

    def size(self, configured: int | None) -> int:
        """Return the VMs that the pool shall have ready; `configured` is None where no configuration names it."""
        return size_in_effect(self.registered_size if configured is None else configured, self.override)


@dataclass(frozen=True, slots=True)
class Messages:
    """Celery's messages: those that wait in each queue, whatever their priority, and those that workers hold."""

    waiting: Mapping[str, int]
    unacknowledged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSnapshot:
    """The recorded health status, and what its reader needs to judge it.

    `health` is the health status as it stands, None if it is no hash. `messages` is None where the broker is no Redis,
    or does not answer. `registered_pools` counts the pools that VMPooler registered. `dlq_sizes` lacks a queue whose
    key is of another type.
    """

    health: Mapping[str, str] | None
    fleet: Fleet
    messages: Messages | None
    registered_pools: int
    dlq_sizes: Mapping[DeadLetterQueue, int] = field(default_factory=dict)
    dlq_bytes: Mapping[DeadLetterQueue, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(StatusSnapshot):
    """Times in seconds since the epoch.

    `suspended_until`: epoch until which the circuit breaker suspends each provider, None if it does not. `last_errors`:
    of the providers that failed. `last_ticks`: of each entry of the schedule. `empty_since`: of each empty pool, as the
    last check recorded it. `refused`: the keys that are of another type than expected, or may not be read.
    `open_requests`: those that wait or are being filled. `waiting_orders`: of users for their VMs, by kind. `removed`:
    the pools with VMs that are in no configuration. `brakes`: of the pools whose brake is engaged. `foreign`: of
    the pools with foreign VMs. `failing_dns`: the entries of `:dns_configs:` whose last call failed.
    """

    open_requests: int
    waiting_orders: Mapping[Step, int]
    dlq_errors: Mapping[str, Mapping[str, int]]
    counters: Mapping[str, float]
    purge_started: float | None
    purge_finished: float | None
    purge_failure: str | None
    pools: Mapping[str, PoolSnapshot]
    suspended_until: Mapping[str, float | None]
    last_errors: Mapping[str, LastError]
    last_ticks: Mapping[str, float]
    empty_since: Mapping[str, float]
    refused: Sequence[bytes]
    removed: Sequence[RemovedPoolState] = ()
    brakes: Mapping[str, Brake] = field(default_factory=dict)
    foreign: Mapping[str, ForeignVms] = field(default_factory=dict)
    failing_dns: Mapping[str, FailingDns] = field(default_factory=dict)


def read(
    db: Database,
    *,
    pools: Sequence[str],
    providers: Sequence[str],
    queues: Sequence[str],
    broker: Database | None,
    is_observing: bool = False,
) -> Snapshot:
    """Read everything in one round trip.

    It takes one more where pools left the configuration with VMs. So it does where no `pools` are named, for those that
    VMPooler registered, and where Celery's messages are in a `broker` other than `db`. Raises StoreUnavailableError if
    `db` does not answer.
    """
    reads = Reads()
    _add_status(reads, status_key(is_observing=is_observing))
    _add_records(reads)
    for name in providers:
        reads.add(("provider", name), "HMGET", keys.breaker(name), "open_until", *ERROR_FIELDS)
    if broker is db:
        _add_messages(reads, queues)
    _add_pools(reads, pools)
    replies = reads.send(db)
    if pools:
        pool_replies = replies
    else:
        pools = _names(replies.get("pools", ()))
        pool_replies = _pool_reads(pools).send(db)
    messages = _messages(replies, queues) if broker is db else read_messages(broker, queues)
    found = {pool: _pool(pool_replies, pool) for pool in pools}
    removed = read_states(db, map(readable, replies.get("removed", ())))
    refused = [*replies.refused, *(pool_replies.refused if pool_replies is not replies else ())]
    status = {**_status(db, replies), "removed": [state for state in removed if state.count]}
    return _snapshot(status, replies, found, providers, messages, refused)


def read_status(
    db: Database, *, queues: Sequence[str], broker: Database | None, is_observing: bool = False
) -> StatusSnapshot:
    """Read the recorded health status and what its reader needs, in one round trip.

    It takes one more where Celery's messages are in a `broker` other than `db`, and one where the live processes have
    different configurations. Raises StoreUnavailableError if `db`
    does not answer.
    """
    reads = Reads()
    _add_status(reads, status_key(is_observing=is_observing))
    if broker is db:
        _add_messages(reads, queues)
    replies = reads.send(db)
    messages = _messages(replies, queues) if broker is db else read_messages(broker, queues)
    return StatusSnapshot(**_status(db, replies), messages=messages)


def read_pools(db: Database, pools: Sequence[str]) -> tuple[dict[str, PoolSnapshot], set[bytes]]:
    """Read these pools in one round trip; return them and the keys that are of another type than expected."""
    replies = _pool_reads(pools).send(db)
    return {pool: _pool(replies, pool) for pool in pools}, set(replies.refused)


def read_messages(broker: Database | None, queues: Sequence[str]) -> Messages | None:
    """Read Celery's messages in one round trip; return None without a broker, or if it does not answer."""
    if broker is None:
        return None
    reads = Reads()
    _add_messages(reads, queues)
    try:
        return _messages(reads.send(broker), queues)
    except VmpoolerTasksError:
        return None


def _add_status(reads: Reads, status: bytes) -> None:
    reads.add("health", "HGETALL", status)
    reads.add("pools", "SMEMBERS", keys.POOLS)
    reads.add("heartbeats", "HGETALL", fleet_keys.HEARTBEATS)
    reads.add("time", "TIME")
    for queue in DeadLetterQueue:
        reads.add(queue, "ZCARD", keys.dead_letters(queue))
    reads.add("dlq_bytes", "HMGET", keys.COUNTERS, *(f"dead_letter_bytes:{queue}" for queue in DeadLetterQueue))


def _status(db: Database, replies: Replies) -> dict[str, Any]:
    return {
        "health": _texts(replies.get("health", {})) if "health" in replies else None,
        "fleet": _fleet(db, replies),
        "registered_pools": len(replies.get("pools", ())),
        "dlq_sizes": {queue: replies.get(queue) for queue in DeadLetterQueue if queue in replies},
        "dlq_bytes": _bytes(replies),
    }


def _bytes(replies: Replies) -> dict[DeadLetterQueue, int]:
    """Return the bytes of each queue that can be read. The last script that changed a queue has counted them."""
    counted = dict(zip(DeadLetterQueue, replies.get("dlq_bytes", ()), strict=False))
    return {
        queue: leading_number(raw) if replies.get(queue) else 0 for queue, raw in counted.items() if queue in replies
    }


def _fleet(db: Database, replies: Replies) -> Fleet:
    """Return the processes; where their configurations differ, with the pools of each."""
    if "heartbeats" not in replies:
        return Fleet(is_known=False)
    fleet = heartbeats.parse_fleet(replies.get("heartbeats", {}), replies.get("time"))
    return with_pool_lists(db, fleet) if len(fleet.configurations) > 1 else fleet


def _add_records(reads: Reads) -> None:
    reads.add("dlq_errors", "HGET", keys.HEALTH_STATE, "dlq_errors")
    reads.add("empty_since", "HGET", keys.HEALTH_STATE, "empty_since")
    reads.add("counters", "HGETALL", keys.COUNTERS)
    reads.add("removed", "HKEYS", keys.REMOVED_POOLS)
    reads.add("purge", "HMGET", keys.PURGE_STATE, "started", "finished", "failure")
    reads.add("schedule", "HGETALL", fleet_keys.SCHEDULE)
    reads.add("brakes", "HGETALL", keys.BRAKES)
    reads.add("foreign", "HGETALL", keys.FOREIGN_VMS)
    reads.add("dns", "HGETALL", keys.DNS_FAILURES)
    for key in keys.OPEN_REQUESTS:
        reads.add(key, "ZCARD", key)
    for key in ORDER_KEYS.values():
        reads.add(key, "SCARD", key)


def _pool_reads(pools: Sequence[str]) -> Reads:
    reads = Reads()
    _add_pools(reads, pools)
    return reads


def _add_pools(reads: Reads, pools: Sequence[str]) -> None:
    for pool in pools:
        reads.add(("override", pool), "HGET", keys.POOL_SIZES, pool)
        reads.add(("size", pool), "HGET", keys.pool(pool), "size")
        reads.add(("pause", pool), "HGET", keys.PAUSED, pool)
        reads.add(("breaker", pool), "HMGET", keys.pool_breaker(pool), "open_until", *ERROR_FIELDS)
        for queue in COUNTED_QUEUES:
            reads.add((queue, pool), "SCARD", keys.queue(queue, pool))


def _add_messages(reads: Reads, queues: Sequence[str]) -> None:
    for queue in queues:
        for key in broker_keys.messages(queue):
            reads.add(("messages", key), "LLEN", key)
    reads.add("unacknowledged", "HLEN", broker_keys.UNACKNOWLEDGED)


def _messages(replies: Replies, queues: Sequence[str]) -> Messages:
    waiting = {queue: sum(replies.get(("messages", key), 0) for key in broker_keys.messages(queue)) for queue in queues}
    return Messages(waiting, replies.get("unacknowledged", 0))


def _snapshot(
    status: Mapping[str, Any],
    replies: Replies,
    pools: Mapping[str, PoolSnapshot],
    providers: Sequence[str],
    messages: Messages | None,
    refused: Sequence[bytes],
) -> Snapshot:
    started, finished, failure = replies.get("purge", (None, None, None))
    breakers = {name: _breaker(replies.get(("provider", name))) for name in providers}
    return Snapshot(
        **status,
        messages=messages,
        open_requests=sum(replies.get(key, 0) for key in keys.OPEN_REQUESTS),
        waiting_orders={step: replies.get(key, 0) for step, key in ORDER_KEYS.items()},
        dlq_errors=read_errors(_text(replies.get("dlq_errors")) or "{}"),
        counters=_numbers(replies.get("counters", {})),
        purge_started=_number(started),
        purge_finished=_number(finished),
        purge_failure=_text(failure) or None,
        pools=pools,
        suspended_until={name: until for name, (until, _) in breakers.items()},
        last_errors={name: error for name, (_, error) in breakers.items() if error},
        last_ticks={
            name: epoch
            for name, epoch in _numbers(replies.get("schedule", {})).items()
            if not name.endswith(CLAIM_SUFFIX)
        },
        empty_since=read_times(_text(replies.get("empty_since")) or "{}"),
        refused=refused,
        brakes={pool: brake for pool, brake in parse_brakes(replies.get("brakes", {})).items() if brake.is_engaged},
        foreign=parse_foreign(replies.get("foreign", {})),
        failing_dns=parse_failures(replies.get("dns", {})),
    )


def _breaker(fields: Sequence[bytes | None] | None) -> tuple[float | None, LastError | None]:
    """Return until when a breaker suspends, and its last error."""
    until, *error = fields or (None, None, None)
    return _number(until), parse_last_error(*error)


def _pool(replies: Replies, pool: str) -> PoolSnapshot:
    pause = replies.get(("pause", pool))
    until, last_error = _breaker(replies.get(("breaker", pool)))
    return PoolSnapshot(
        override=_text(replies.get(("override", pool))),
        registered_size=leading_number(replies.get(("size", pool))),
        vms={queue: replies.get((queue, pool)) for queue in COUNTED_QUEUES if (queue, pool) in replies},
        pause=None if pause is None else parse_pause(pause),
        suspended_until=until,
        last_error=last_error,
    )


def _names(raws: Sequence[bytes]) -> list[str]:
    """Return the names that are UTF-8; others belong to no pool."""
    texts = (raw.decode(errors="replace") for raw in raws)
    return sorted(text for text in texts if "\ufffd" not in text)


def _texts(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {readable(name): value.decode(errors="replace") for name, value in raw.items()}


def _numbers(raw: Mapping[bytes, bytes]) -> dict[str, float]:
    found = {name: finite(text) for name, text in _texts(raw).items()}
    return {name: number for name, number in found.items() if number is not None}


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode(errors="replace")


def _number(raw: bytes | None) -> float | None:
    return finite(_text(raw))
