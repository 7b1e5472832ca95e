"""When each entry of the schedule was last sent, and which beat may send it next: kept in Redis, not on a disk."""

from vmpooler_tasks.clock import MAX_DRIFT_SECONDS
from vmpooler_tasks.store import fleet_keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite

CLAIM_SECONDS = 30
"""How long a beat has to send the tick that it claimed. If it dies meanwhile, another beat claims it after that."""

CLAIM_SUFFIX = ":claim"
"""The end of the field with the claim on an entry's next tick."""


def read_last_ticks(db: Database) -> dict[str, str]:
    """Return entry → epoch of its last tick, as the text that `claim_tick` takes. What is no number counts as never."""
    with db.translated_errors():
        raw = db.client.hgetall(fleet_keys.SCHEDULE.decode())
    found = {name.decode(errors="replace"): epoch.decode(errors="replace") for name, epoch in raw.items()}
    ticks = {name: epoch for name, epoch in found.items() if not name.endswith(CLAIM_SUFFIX)}
    return {name: epoch for name, epoch in ticks.items() if finite(epoch) is not None}


def claim_tick(db: Database, entry: str, last_tick: str, now: float) -> str | None:
    """Claim the next tick of an entry; `last_tick` is "" before its first.

    Return the claim, to be confirmed or released, or None if another beat was first.
    """
    until = repr(now + CLAIM_SECONDS)
    script_args = [entry, entry + CLAIM_SUFFIX, last_tick, now, until, MAX_DRIFT_SECONDS]
    return until if db.run("fleet/claim_tick", [fleet_keys.SCHEDULE], script_args) else None


def confirm_tick(db: Database, entry: str, claimed: str, tick: float) -> None:
    """Record that the claimed tick was sent."""
    db.run("fleet/confirm_tick", [fleet_keys.SCHEDULE], [entry, entry + CLAIM_SUFFIX, claimed, repr(tick)])


def release_tick(db: Database, entry: str, claimed: str) -> None:
    """Release the claim on a tick that could not be sent: any beat may claim it at once."""
    db.run("fleet/confirm_tick", [fleet_keys.SCHEDULE], [entry, entry + CLAIM_SUFFIX, claimed, ""])
