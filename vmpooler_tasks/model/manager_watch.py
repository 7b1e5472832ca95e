"""The watch for another pool manager on the same Redis. docs/beside-vmpooler.md describes it."""

from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.model.timestamps import iso_utc


class WatchState(StrEnum):
    """What the watch has seen. The pool workers work only while they are `alone`."""

    ALONE = "alone"
    WATCHING = "watching"
    """It starts, or there was one sighting: it is not known yet whether another manager is at work."""

    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerWatch:
    """The watch as it was recorded.

    `until`: epoch at which the state ends if nothing more is seen; None where the watch has yet to start. `sightings`
    are those of another manager in a short time, `evidence` says what the last one was.
    """

    state: WatchState
    until: float | None = None
    sightings: int = 0
    evidence: str = ""

    @property
    def is_alone(self) -> bool:
        return self.state is WatchState.ALONE

    @property
    def is_other_seen(self) -> bool:
        return self.state is WatchState.OTHER

    def obstacle(self) -> str:
        """Return why no clone starts now; '' if the watch hinders none, or has not started."""
        if self.is_other_seen:
            return "another pool manager is at work on this Redis: these workers do nothing"
        if self.is_alone or self.until is None:
            return ""
        return f"no clone starts before {iso_utc(self.until)}: the workers watch for another pool manager first"


UNWATCHED = ManagerWatch(state=WatchState.WATCHING)
"""No check of the pool workers has run lately: the next one starts a watch."""
