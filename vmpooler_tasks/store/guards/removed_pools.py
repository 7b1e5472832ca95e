"""Pools with VMs that are in no live process's configuration: since when, and which of them an operator keeps.

A pool counts as removed while each tick of the pool workers sees it so. As soon as a live process has it in its
configuration, the removal is forgotten, together with the time that it held.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from vmpooler_tasks.model.guards.managed import KeptPool, ManagedPool, RemovedPool
from vmpooler_tasks.model.guards.removed import RemovedPoolState
from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite
from vmpooler_tasks.store.redis.reads import Reads, Replies

COUNTED = (Queue.PENDING, Queue.READY, Queue.RUNNING, Queue.COMPLETED, Queue.DISCOVERED)
"""The queues whose VMs count. What is only in migrating is in the other queues as well, or nowhere."""

_REMOVED, _KEPT = keys.REMOVED_POOLS, keys.KEPT_POOLS


def observe(db: Database, pools: Collection[str], *, max_gap_seconds: float) -> None:
    """Record that exactly these pools are removed, by the server's clock.

    A pool that was not seen for longer than the gap counts from now on: nobody knows what was in between.
    """
    db.run("guards/observe_removed", [_REMOVED], [max_gap_seconds, *pools])


def forget_all(db: Database) -> None:
    """Forget all removals: they count from their next observation. Operators' orders to keep a pool stay."""
    db.call("DEL", _REMOVED)


def read_removed(db: Database) -> dict[str, RemovedPool]:
    """Return the removed pools by name. Raise WrongTypeError."""
    with db.translated_errors(_REMOVED, _KEPT):
        pipe = db.client.pipeline(transaction=False)
        pipe.hgetall(_REMOVED)
        pipe.hgetall(_KEPT)
        removed, kept = pipe.execute()
    return parse_removed(removed, kept)


def parse_removed(removed: Mapping[bytes, bytes], kept: Mapping[bytes, bytes]) -> dict[str, RemovedPool]:
    """Return the removed pools by name, from the two hashes."""
    return {
        readable(name): RemovedPool(since=_since(raw), kept=_kept(kept[name]) if name in kept else None)
        for name, raw in sorted(removed.items())
    }


def _since(raw: bytes) -> float:
    return finite(readable(raw).partition(" ")[0]) or 0.0


def _kept(raw: bytes) -> KeptPool:
    try:
        fields: Any = json.loads(raw)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        return KeptPool(since=0.0, who="unknown", why="the record of the order cannot be read")
    since = fields.get("since")
    return KeptPool(
        since=(finite(str(since)) or 0.0) if isinstance(since, int | float) else 0.0,
        who=str(fields.get("who") or "unknown"),
        why=str(fields.get("why") or ""),
    )


def add(db: Database, pools: Iterable[str], *, now: float) -> None:
    """Record that these pools are removed, too. The next ticks decide whether that lasts."""
    with db.translated_errors(_REMOVED):
        pipe = db.client.pipeline(transaction=False)
        for pool in pools:
            pipe.hsetnx(_REMOVED, pool, f"{now:.3f} {now:.3f}")
        pipe.execute()


def read_states(db: Database, pools: Iterable[str]) -> list[RemovedPoolState]:
    """Return what is known of these pools, in one round trip. A queue of another type counts as empty."""
    names, reads = sorted(pools), Reads()
    for name in names:
        reads.add(("removed", name), "HGET", _REMOVED, name)
        reads.add(("kept", name), "HGET", _KEPT, name)
        reads.add(("record", name), "HGET", keys.MANAGED_POOLS, name)
        for queue in COUNTED:
            reads.add((queue, name), "SCARD", keys.queue(queue, name))
    replies = reads.send(db)
    return [_state(replies, name) for name in names]


def _state(replies: Replies, name: str) -> RemovedPoolState:
    removed, kept, record = (replies.get((what, name)) for what in ("removed", "kept", "record"))
    known = removed is not None or kept is not None
    return RemovedPoolState(
        name=name,
        vms={queue: replies.get((queue, name), 0) for queue in COUNTED},
        removed=RemovedPool(since=_since(removed or b""), kept=_kept(kept) if kept else None) if known else None,
        provider=ManagedPool.from_record(name, readable(record)).provider if record else "",
    )


def keep(db: Database, pool: str, kept: KeptPool, trail: Mapping[str, Any]) -> KeptPool | None:
    """Keep the VMs of a pool, and record that in the audit. Return the order before, which stays, or None."""
    record = json.dumps({"since": kept.since, "who": kept.who, "why": kept.why}, ensure_ascii=False)
    words = audit.trail_words(trail)
    before = db.run("guards/keep_pool", [_KEPT, fleet_keys.AUDIT], [pool, record, audit.MAX_ENTRIES, *words])
    return _kept(before) if before else None


def end_keeping(db: Database, pool: str, trail: Mapping[str, Any]) -> KeptPool | None:
    """End an operator's order to keep the pool, and record that in the audit. Return the order, or None for none."""
    before = db.run("pools/resume", [_KEPT, fleet_keys.AUDIT], [pool, audit.MAX_ENTRIES, *audit.trail_words(trail)])
    return _kept(before) if before else None


def read_names(db: Database) -> set[str]:
    """Return the names of the pools that are removed or kept. Raise WrongTypeError."""
    return {readable(name) for key in (_REMOVED, _KEPT) for name in db.call("HKEYS", key)}


def drain(db: Database, pool: str, queue: Queue, limit: int) -> list[str]:
    """Move up to `limit` VMs of a removed pool from this queue to completed. Return them.

    A pool that is no longer removed, that is kept, or whose brake is engaged, keeps them.
    """
    moved = db.run(
        "guards/drain_removed",
        [_REMOVED, _KEPT, keys.queue(queue, pool), keys.queue(Queue.COMPLETED, pool), keys.BRAKES],
        [pool, limit],
    )
    return [vm.decode(errors="backslashreplace") for vm in moved]


def forget_empty(db: Database, pool: str, *, max_notes: int = 0) -> bool:
    """Remove the records of a pool that is removed and has no VM in any queue. Return True if that was done.

    A pool with more than `max_notes` notes of DNS records stays: the inspections of removed pools delete the records.
    """
    fixed = [_REMOVED, _KEPT, keys.MANAGED_POOLS, keys.empty(pool), keys.pool_breaker(pool), keys.dns_records(pool)]
    return bool(db.run("guards/forget_removed", [*fixed, *keys.queues(pool)], [pool, max_notes]))
