"""Pools that an operator paused. The scripts that start or claim clones read the same hash."""

import json
from collections.abc import Mapping
from typing import Any

from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.pools.vms import MOVE_PAGE
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite


def read_paused(db: Database) -> dict[str, Pause]:
    """Return the pause of each paused pool. Raise WrongTypeError."""
    raw = db.call("HGETALL", keys.PAUSED)
    return {readable(pool): parse_pause(text) for pool, text in raw.items()}


def parse_pause(raw: bytes) -> Pause:
    """Return the pause that the hash holds for a pool. One that cannot be read counts as paused by somebody unknown."""
    try:
        fields = json.loads(raw)
        state = PauseState(fields["state"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return Pause(state=PauseState.PAUSED, since=0.0, who="unknown", why="the record of the pause cannot be read")
    return Pause(
        state=state,
        since=finite(str(fields.get("since"))) or 0.0,
        who=str(fields.get("who") or "unknown"),
        why=str(fields.get("why") or ""),
    )


def pause(db: Database, pool: str, pause: Pause, trail: Mapping[str, Any]) -> Pause | None:
    """Pause the pool, and record it in the audit. Return the pause before, or None.

    A pause of the same state stays as it is, and the audit gets no entry.
    """
    record = {"state": pause.state, "since": pause.since, "who": pause.who, "why": pause.why}
    before = db.run(
        "pools/pause",
        [keys.PAUSED, fleet_keys.AUDIT],
        [
            pool,
            str(pause.state),
            json.dumps(record, ensure_ascii=False),
            audit.MAX_ENTRIES,
            *audit.trail_words(trail),
        ],
    )
    return parse_pause(before) if before else None


def resume(db: Database, pool: str, trail: Mapping[str, Any]) -> Pause | None:
    """End the pool's pause, and record that in the audit. Return the pause that ended, or None if there was none."""
    before = db.run(
        "pools/resume", [keys.PAUSED, fleet_keys.AUDIT], [pool, audit.MAX_ENTRIES, *audit.trail_words(trail)]
    )
    return parse_pause(before) if before else None


def drain(db: Database, pool: str, queue: Queue) -> list[str]:
    """Move all VMs of a draining pool from this queue to completed, in pages. Return the moved VMs.

    A pool that stops draining meanwhile keeps the rest.
    """
    moved: list[str] = []
    while True:
        page = db.run(
            "pools/drain",
            [keys.PAUSED, keys.queue(queue, pool), keys.queue(Queue.COMPLETED, pool)],
            [pool, MOVE_PAGE],
        )
        moved += [vm.decode(errors="backslashreplace") for vm in page]
        if len(page) < MOVE_PAGE:
            return moved
