"""The brakes of the pools: engaged and released by inspections and checks, released once by an operator."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.guards.brake import (
    MIN_HELD,
    NO_MAX_PERCENT,
    Brake,
    BrakeCounts,
    BrakeDecision,
    ConfirmResult,
)
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite


def read_brakes(db: Database) -> dict[str, Brake]:
    """Return the brake of each pool that has one, engaged or confirmed. Raise WrongTypeError."""
    return parse_brakes(db.call("HGETALL", keys.BRAKES))


def parse_brakes(raw: Mapping[bytes, bytes]) -> dict[str, Brake]:
    """Return the brakes that the hash holds."""
    return {readable(pool): parse_brake(readable(pool), record) for pool, record in raw.items()}


def parse_brake(pool: str, raw: bytes) -> Brake:
    """Return the brake that the hash holds for a pool. One that cannot be read is engaged."""
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        return Brake(pool=pool, since=0.0)
    confirmed = fields.get("confirmed")
    return Brake(
        pool=pool,
        since=finite(str(fields.get("since"))) or 0.0,
        **{name: _count(fields.get(name)) for name in ("strays", "missing", "known", "limit", "unrecorded")},
        is_new=fields.get("is_new") is True,
        confirmed=_count(confirmed) if finite(str(confirmed)) is not None and not isinstance(confirmed, str) else None,
    )


def _count(value: Any) -> int:
    return int(finite(str(value)) or 0)


def is_engaged(db: Database, pool: str) -> bool:
    """Return whether the pool's brake holds what would be completed or destroyed as unknown or missing."""
    raw = db.call("HGET", keys.BRAKES, pool)
    return raw is not None and parse_brake(pool, raw).is_engaged


def start_inventory(db: Database, pool: str) -> str:
    """Return the mark of the pool's inventory, which `apply` compares: call it before anything else is read.

    A pool that this Redis does not know gets a new mark. So do all pools after Redis was emptied.
    """
    mark: bytes = db.run("guards/start_inventory", [keys.INVENTORIES], [pool])
    return mark.decode()


@dataclass(frozen=True, slots=True)
class BrakeOutcome:
    """The decision about one inspection, and the brake that it is about, None for none."""

    decision: BrakeDecision
    brake: Brake | None


def apply(db: Database, pool: str, mark: str, counts: BrakeCounts, *, max_percent: float, now: float) -> BrakeOutcome:
    """Decide whether an inspection may complete what it counted. Engage or release the pool's brake by that.

    `mark` is that of `start_inventory`. An inspection that read its data before Redis was emptied may do nothing.
    """
    decision, record = db.run(
        "guards/apply_brake",
        [keys.BRAKES, keys.INVENTORIES, fleet_keys.AUDIT],
        [
            pool,
            mark,
            counts.strays,
            counts.discovered,
            counts.missing,
            counts.known,
            max_percent,
            NO_MAX_PERCENT,
            MIN_HELD,
            repr(now),
            audit.MAX_ENTRIES,
            counts.unrecorded,
        ],
    )
    return BrakeOutcome(BrakeDecision(decision.decode()), parse_brake(pool, record) if record else None)


def confirm(db: Database, pool: str, trail: Mapping[str, Any]) -> tuple[ConfirmResult, Brake | None]:
    """Release the pool's brake once, for as many VMs as it holds, and record that in the audit.

    Return the result and the brake as it was before. More VMs than that engage it again.
    """
    result, before = db.run(
        "guards/confirm", [keys.BRAKES, fleet_keys.AUDIT], [pool, audit.MAX_ENTRIES, *audit.trail_words(trail)]
    )
    return ConfirmResult(result.decode()), parse_brake(pool, before) if before else None


def forget(db: Database, pool: str) -> None:
    """Forget the brake of a pool that no longer exists, and that it was ever managed."""
    with db.translated_errors(keys.BRAKES, keys.INVENTORIES):
        pipe = db.client.pipeline(transaction=True)
        pipe.hdel(keys.BRAKES, pool)
        pipe.hdel(keys.INVENTORIES, pool)
        pipe.execute()
