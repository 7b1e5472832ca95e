"""Orders from users of the API: overrides of sizes, templates and clone targets, and resets of pools."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The orders for one pool.

    `known_template` is the template that the pool's VMs were last made from, `known_clone_target` the place ('': none).
    """

    size: str | None
    template: str | None
    clone_target: str | None
    reset: bool
    undo_size: bool
    undo_template: bool
    known_template: str | None
    known_clone_target: str | None


def read_orders(db: Database, pool: str) -> Orders:
    """Read the orders for one pool in one round trip."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        add_order_commands(pipe, pool)
        return parse_orders(pipe.execute())


def add_order_commands(pipe: Any, pool: str) -> None:
    """Add the commands whose replies `parse_orders` reads."""
    for key in (keys.POOL_SIZES, keys.POOL_TEMPLATES, keys.POOL_CLONE_TARGETS, keys.TEMPLATES, keys.CLONE_TARGETS):
        pipe.hget(key, pool)
    for key in (keys.POOL_RESETS, keys.UNDO_SIZES, keys.UNDO_TEMPLATES):
        pipe.sismember(key, pool)


def parse_orders(replies: Sequence[Any]) -> Orders:
    """Turn the replies to `add_order_commands` into orders."""
    size, template, target, known, known_target, reset, undo_size, undo_template = replies
    return Orders(
        size=_text(size),
        template=_text(template),
        clone_target=_text(target),
        known_template=_text(known),
        known_clone_target=_text(known_target),
        reset=bool(reset),
        undo_size=bool(undo_size),
        undo_template=bool(undo_template),
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else readable(raw)


def read_clone_targets(db: Database) -> dict[str, str]:
    """Return pool → clone target of all pools whose clone target was set through the API. Raise WrongTypeError."""
    return {readable(pool): readable(target) for pool, target in db.call("HGETALL", keys.POOL_CLONE_TARGETS).items()}


def undo(db: Database, pool: str, *, size: bool, template: bool) -> None:
    """Remove the pool's overrides of size or template, and the order to do so."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=True)
        if size:
            pipe.hdel(keys.POOL_SIZES, pool)
            pipe.srem(keys.UNDO_SIZES, pool)
        if template:
            pipe.hdel(keys.POOL_TEMPLATES, pool)
            pipe.srem(keys.UNDO_TEMPLATES, pool)
        pipe.execute()


def remove_reset(db: Database, pool: str) -> None:
    """Remove the order to reset the pool, which is done."""
    db.call("SREM", keys.POOL_RESETS, pool)


def remember_template(db: Database, pool: str, template: str) -> None:
    """Record the template for the pool's new VMs."""
    db.call("HSET", keys.TEMPLATES, pool, template)


def remember_clone_target(db: Database, pool: str, target: str) -> None:
    """Record where the pool's new VMs are made."""
    db.call("HSET", keys.CLONE_TARGETS, pool, target)
