"""One pool as Redis holds it: its queues, with everything that an inspection needs."""

from collections.abc import Mapping
from dataclasses import dataclass

from vmpooler_tasks.model.guards.brake import Brake
from vmpooler_tasks.model.manager_watch import ManagerWatch
from vmpooler_tasks.model.names import INSPECTED_QUEUES, Queue, readable
from vmpooler_tasks.model.pools.pause import Pause
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards.brakes import parse_brake
from vmpooler_tasks.store.orders.overrides import Orders, add_order_commands, parse_orders
from vmpooler_tasks.store.pools.breakers import CallKind
from vmpooler_tasks.store.pools.other_manager import WATCH_FIELDS, parse_watch
from vmpooler_tasks.store.pools.pauses import parse_pause
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite
from vmpooler_tasks.store.redis.reads import Reads


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """One pool at one instant.

    `queues`: its INSPECTED_QUEUES. `migrating`: how many names are in migrating, which may be very many.
    `provider_suspended_until` and `suspended_until` (of the pool itself) are epochs; in the past they mean: until a
    clone succeeds. `inventory_failed`: the last read of the provider's inventory failed. `pause`: by its operator.
    `brake`: engaged, or confirmed by its operator.
    """

    queues: Mapping[Queue, frozenset[bytes]]
    migrating: int
    orders: Orders
    provider_suspended_until: float | None
    suspended_until: float | None
    inventory_failed: bool
    pause: Pause | None
    brake: Brake | None = None


def read_view(db: Database, pool: str, provider: str) -> PoolView:
    """Read the pool in one round trip. Raise WrongTypeError if a queue is not a set."""
    with db.translated_errors(*keys.queues(pool)):
        pipe = db.client.pipeline(transaction=False)
        for queue in INSPECTED_QUEUES:
            pipe.smembers(keys.queue(queue, pool))
        pipe.scard(keys.queue(Queue.MIGRATING, pool))
        pipe.hmget(keys.breaker(provider), "open_until", str(CallKind.INVENTORY))
        pipe.hget(keys.pool_breaker(pool), "open_until")
        pipe.hget(keys.PAUSED, pool)
        pipe.hget(keys.BRAKES, pool)
        add_order_commands(pipe, pool)
        replies = pipe.execute()
    members, (migrating, (open_until, failed), of_pool, pause, brake, *orders) = (
        replies[: len(INSPECTED_QUEUES)],
        replies[len(INSPECTED_QUEUES) :],
    )
    return PoolView(
        queues=dict(zip(INSPECTED_QUEUES, map(frozenset, members), strict=True)),
        migrating=migrating,
        orders=parse_orders(orders),
        provider_suspended_until=_epoch(open_until),
        suspended_until=_epoch(of_pool),
        inventory_failed=failed is not None,
        pause=None if pause is None else parse_pause(pause),
        brake=None if brake is None else parse_brake(pool, brake),
    )


def _epoch(raw: bytes | None) -> float | None:
    return None if raw is None else finite(readable(raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """When each pool moved last (an epoch), how many clones are in flight for pools, and the watch for another manager.

    A pool moves when it has all its VMs, a clone of it starts, or a VM of it becomes ready.
    """

    moved: Mapping[str, float]
    clones_in_flight: int
    watch: ManagerWatch


def read_progress(db: Database) -> Progress:
    """Read the progress of all pools in one round trip. A key of another type counts as missing."""
    reads = Reads()
    reads.add("moved", "HGETALL", keys.MOVED)
    reads.add("boots", "HGETALL", keys.LAST_BOOT)
    reads.add("clones", "ZCARD", keys.POOL_SLOTS.key)
    reads.add("watch", "HMGET", keys.MANAGER_WATCH, *WATCH_FIELDS)
    reads.add("time", "TIME")
    replies = reads.send(db)
    moved = {readable(pool): _epoch(raw) or 0.0 for pool, raw in replies.get("moved", {}).items()}
    for pool, raw in replies.get("boots", {}).items():
        if time := parse_time(raw):
            moved[readable(pool)] = max(moved.get(readable(pool), 0.0), time.timestamp())
    return Progress(
        moved=moved,
        clones_in_flight=replies.get("clones", 0),
        watch=parse_watch(replies.get("watch", [None] * len(WATCH_FIELDS)), replies.get("time", (0, 0))),
    )


def flag_empty(db: Database, pool: str, *, empty: bool) -> bool:
    """Set or delete VMPooler's flag of an empty pool. Return True if that changed it."""
    if empty:
        return db.call("SET", keys.empty(pool), "true", "NX") is not None
    return bool(db.call("DEL", keys.empty(pool)))
