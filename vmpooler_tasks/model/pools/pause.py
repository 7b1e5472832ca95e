"""An operator's pause of a pool: no new clones, and with `draining` no VM that is left in pending or ready."""

from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.model.timestamps import iso_utc


class PauseState(StrEnum):
    """The two kinds of a pause."""

    PAUSED = "paused"
    """No new clones. Checks, lifetimes and destructions go on."""

    DRAINING = "draining"
    """Paused, and the pool's pending and ready VMs go to completed. Running VMs stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """One pause: its state, the epoch of its start, who paused the pool, and why ('' for no reason)."""

    state: PauseState
    since: float
    who: str
    why: str

    def text(self, pool: str) -> str:
        """Return the pause in words: `pool 'x' is paused by olga since 2024-01-15T10:30:00Z: maintenance`."""
        why = f": {self.why}" if self.why else ""
        doing = "being drained" if self.state is PauseState.DRAINING else "paused"
        return f"pool {pool!r} is {doing} by {self.who} since {iso_utc(self.since)}{why}"


class PoolAction(StrEnum):
    """What an operator orders for a pool; a retry also for a provider."""

    PAUSE = "pause"
    DRAIN = "drain"
    RESUME = "resume"
    RETRY = "retry"
    KEEP = "keep"
    CONFIRM = "confirm"
