"""Orders from users of the API: overrides of sizes, templates and clone targets, their undo, and resets of pools."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The orders for one pool, and what was applied of them.

    `stored_template`: the template override byte by byte (b'': none).
    `prepared_template`: the template that the pool's VMs are made from (None: not recorded yet; '': none).
    `applied_template`: the override that it comes from, if these workers applied it. `applied_clone_target`: the place
    of the last inspection ('': none).
    `is_boot_known`: no other manager has made a VM of the pool ready since these workers did.
    `has_former_templates`: an earlier version has left its templates behind.
    """

    size: str | None
    template: str | None
    stored_template: bytes
    clone_target: str | None
    reset: bool
    undo_size: bool
    undo_template: bool
    prepared_template: str | None
    applied_template: str | None
    applied_clone_target: str | None
    is_boot_known: bool
    has_former_templates: bool


_HASHES = (
    keys.POOL_SIZES,
    keys.POOL_TEMPLATES,
    keys.POOL_CLONE_TARGETS,
    keys.PREPARED_TEMPLATES,
    keys.APPLIED_TEMPLATES,
    keys.APPLIED_CLONE_TARGETS,
    keys.LAST_BOOT,
    keys.OWN_BOOTS,
)
_SETS = (keys.POOL_RESETS, keys.UNDO_SIZES, keys.UNDO_TEMPLATES)
_COMMANDS = len(_HASHES) + len(_SETS) + 1


def read_orders(db: Database, pool: str) -> Orders:
    """Read the orders for one pool in one round trip. Raise WrongTypeError."""
    return read_orders_of_pools(db, [pool])[pool]


def read_orders_of_pools(db: Database, pools: Sequence[str]) -> dict[str, Orders]:
    """Return pool → the orders for it, read in one round trip. Raise WrongTypeError."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for pool in pools:
            add_order_commands(pipe, pool)
        replies = pipe.execute()
    starts = range(0, len(replies), _COMMANDS)
    return {pool: parse_orders(replies[start : start + _COMMANDS]) for pool, start in zip(pools, starts, strict=True)}


def add_order_commands(pipe: Any, pool: str) -> None:
    """Add the commands whose replies `parse_orders` reads, _COMMANDS of them."""
    for key in _HASHES:
        pipe.hget(key, pool)
    for key in _SETS:
        pipe.sismember(key, pool)
    pipe.exists(keys.FORMER_TEMPLATES)


def parse_orders(replies: Sequence[Any]) -> Orders:
    """Turn the replies to `add_order_commands` into orders."""
    size, template, target, prepared, applied, applied_target, last_boot, own_boot, *flags = replies
    reset, undo_size, undo_template, has_former_templates = map(bool, flags)
    return Orders(
        size=_text(size),
        template=_text(template),
        stored_template=template or b"",
        clone_target=_text(target),
        prepared_template=_text(prepared),
        applied_template=_text(applied),
        applied_clone_target=_text(applied_target),
        is_boot_known=last_boot in (None, own_boot),
        reset=reset,
        undo_size=undo_size,
        undo_template=undo_template,
        has_former_templates=has_former_templates,
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else readable(raw)


def read_clone_targets(db: Database) -> dict[str, str]:
    """Return pool → clone target of all pools whose clone target was set through the API. Raise WrongTypeError."""
    return {readable(pool): readable(target) for pool, target in db.call("HGETALL", keys.POOL_CLONE_TARGETS).items()}


def adopt_former_templates(db: Database) -> int:
    """Copy the templates that an earlier version recorded to VMPooler's key, and delete the former key.

    Return how many pools were copied.
    """
    return int(db.run("orders/adopt_templates", [keys.FORMER_TEMPLATES, keys.PREPARED_TEMPLATES], []))


def record_template(db: Database, pool: str, template: str, orders: Orders) -> bool:
    """Record the template that the pool's VMs are made from ('': none), and remove the order to undo its override.

    `orders`: those from which the template follows. Return False, and record nothing, if the override is another one by
    now: the next inspection applies it.
    """
    recorded = db.run(
        "orders/record_template",
        [keys.PREPARED_TEMPLATES, keys.POOL_TEMPLATES, keys.APPLIED_TEMPLATES, keys.UNDO_TEMPLATES],
        [pool, template, orders.stored_template, int(orders.undo_template)],
    )
    return bool(recorded)


class CloneTargetChange(StrEnum):
    """How the clone target of a pool differs from the one of its last inspection."""

    SAME = "same"
    FIRST_SEEN = "first_seen"
    MOVED = "moved"
    """The configuration has another one."""

    DRAIN = "drain"
    """The API has set another one: the pool must be drained before it is recorded."""


def observe_clone_target(db: Database, pool: str, target: str, *, is_override: bool) -> CloneTargetChange:
    """Compare the clone target in force with the one of the last inspection. Record it, unless the pool must drain."""
    change = db.run(
        "orders/observe_clone_target",
        [keys.APPLIED_CLONE_TARGETS, keys.LAST_BOOT, keys.OWN_BOOTS],
        [pool, target, int(is_override)],
    )
    return CloneTargetChange(change.decode())


def record_clone_target(db: Database, pool: str, target: str) -> None:
    """Record the clone target that the pool's VMs are made at."""
    db.call("HSET", keys.APPLIED_CLONE_TARGETS, pool, target)


def remove_undo_of_size(db: Database, pool: str) -> None:
    """Remove the order to undo the pool's size, which is done. An override that was set since stays."""
    db.call("SREM", keys.UNDO_SIZES, pool)


def remove_reset(db: Database, pool: str) -> None:
    """Remove the order to reset the pool, which is done."""
    db.call("SREM", keys.POOL_RESETS, pool)
