"""Pools as Redis knows them: registered settings, overrides and orders from the API, and their queues."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What was ordered through the API. `known_template`: the template that the pool's VMs were last made from."""

    size: str | None
    template: str | None
    clone_target: str | None
    reset: bool
    undo_size: bool
    undo_template: bool
    known_template: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """One pool at one instant.

    `provider_closed_until`: its provider is left alone until that epoch; so is the pool itself until `closed_until`. In
    the past: until one clone succeeds.

    `provider_is_silent`: it could not say what VMs it has when it was asked last.
    """

    queues: Mapping[Queue, frozenset[bytes]]
    orders: Orders
    provider_closed_until: float | None
    closed_until: float | None
    provider_is_silent: bool


def register(db: Database, pools: Mapping[str, Mapping[str, str]]) -> None:
    """Tells VMPooler's API server which pools there are, as VMPooler's own manager does at its start."""
    with db.translated_errors(keys.POOLS):
        former = {readable(name) for name in db.client.smembers(keys.POOLS)}
        pipe = db.client.pipeline(transaction=True)
        for name in former - pools.keys():
            pipe.srem(keys.POOLS, name)
            pipe.delete(keys.pool(name))
        for name, fields in pools.items():
            pipe.sadd(keys.POOLS, name)
            pipe.delete(keys.pool(name))
            pipe.hset(keys.pool(name), mapping=dict(fields))
        pipe.execute()


def view(db: Database, pool: str, provider: str) -> PoolView:
    """One round trip. Raises WrongTypeError."""
    with db.translated_errors(*keys.queues(pool)):
        pipe = db.client.pipeline(transaction=False)
        for queue in Queue:
            pipe.smembers(keys.queue(queue, pool))
        pipe.hmget(keys.breaker(provider), "open_until", "listings")
        pipe.hget(keys.pool_breaker(pool), "open_until")
        _ask_orders(pipe, pool)
        replies = pipe.execute()
    members, ((open_until, listings), own, *orders) = replies[: len(Queue)], replies[len(Queue) :]
    return PoolView(
        queues=dict(zip(Queue, map(frozenset, members), strict=True)),
        orders=_orders(orders),
        provider_closed_until=finite(_text(open_until)),
        closed_until=finite(_text(own)),
        provider_is_silent=listings is not None,
    )


def orders(db: Database, pool: str) -> Orders:
    """One round trip."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        _ask_orders(pipe, pool)
        return _orders(pipe.execute())


def _ask_orders(pipe: Any, pool: str) -> None:
    for key in (keys.POOL_SIZES, keys.POOL_TEMPLATES, keys.POOL_CLONE_TARGETS, keys.TEMPLATES):
        pipe.hget(key, pool)
    for key in (keys.POOL_RESETS, keys.UNDO_SIZES, keys.UNDO_TEMPLATES):
        pipe.sismember(key, pool)


def _orders(replies: Sequence[Any]) -> Orders:
    size, template, target, known, reset, undo_size, undo_template = replies
    return Orders(
        size=_text(size),
        template=_text(template),
        clone_target=_text(target),
        known_template=_text(known),
        reset=bool(reset),
        undo_size=bool(undo_size),
        undo_template=bool(undo_template),
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else readable(raw)


def undo(db: Database, pool: str, *, size: bool, template: bool) -> None:
    """Takes overrides back, as was ordered."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=True)
        if size:
            pipe.hdel(keys.POOL_SIZES, pool)
            pipe.srem(keys.UNDO_SIZES, pool)
        if template:
            pipe.hdel(keys.POOL_TEMPLATES, pool)
            pipe.srem(keys.UNDO_TEMPLATES, pool)
        pipe.execute()


def reset_done(db: Database, pool: str) -> None:
    db.call("SREM", keys.POOL_RESETS, pool)


def remember_template(db: Database, pool: str, template: str) -> None:
    """From now on the pool's VMs are made from this one."""
    db.call("HSET", keys.TEMPLATES, pool, template)


def flag_empty(db: Database, pool: str, *, empty: bool) -> bool:
    """Whether this is news: it has just become empty, or is no longer."""
    if empty:
        return db.call("SET", keys.empty(pool), "true", "NX") is not None
    return bool(db.call("DEL", keys.empty(pool)))
