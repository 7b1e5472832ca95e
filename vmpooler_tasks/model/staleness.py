"""When an entry is stale, by the timestamp in its metadata. docs/operator-guide.md: Auto-Purge."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import NamedTuple

from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.timestamps import EARLIEST, MAX_AHEAD, RUBY_UTC_LINES, moment, parse_time, ruby_utc

TIMESTAMP_FIELD: dict[Queue, bytes] = {
    Queue.PENDING: b"clone",
    Queue.READY: b"ready",
    Queue.COMPLETED: b"destroy",
}
"""The metadata field from which an entry's age in a queue is counted.

The age in completed counts from `destroy` alone. VMPooler uses the time of the checkout where `destroy` is missing, and
so removes VMs that entered the queue a second ago and are not yet destroyed (docs/vmpooler-behaviour.md)."""

ORPHAN_FIELD = b"clone"
"""The metadata field from which the age of orphaned metadata is counted."""

Stamp = bytes | int | None
"""A timestamp as stored; None if it is missing; a number where the metadata is not a hash."""


class Unusable(Enum):
    """Why a timestamp says nothing about an age."""

    MISSING = auto()
    UNREADABLE = auto()
    IN_THE_FUTURE = auto()


class StaleAge(NamedTuple):
    """A timestamp that is stale, and its age."""

    stamp: bytes
    seconds: float


class UnknownAge(NamedTuple):
    """A timestamp (b"" if missing) that says nothing about an age, and the problem to report, if there is one."""

    stamp: bytes
    problem: str | None


@dataclass(frozen=True, slots=True)
class AgeLimit:
    """The limit between fresh and stale at one instant: stale is *more* than `max_age_seconds` before `now`."""

    now: datetime
    max_age_seconds: float
    cutoff: datetime
    horizon: datetime

    @classmethod
    def at(cls, now: float, max_age_seconds: float) -> "AgeLimit":
        """Return the limit at `now`, in seconds since the epoch."""
        instant, oldest = moment(now), moment(EARLIEST)
        # Some configurations say "never" by an age that reaches back beyond the calendar.
        is_never = max_age_seconds > now - EARLIEST - 1
        cutoff = oldest if is_never else instant - timedelta(seconds=max_age_seconds)
        return cls(instant, max_age_seconds, cutoff, instant + MAX_AHEAD)

    def not_surely_fresh(self, stamps: Sequence[Stamp]) -> Sequence[int]:
        """Return the positions of the timestamps that `classify` has to parse; all others are fresh.

        Nearly every timestamp is Ruby's in UTC. These compare as text, so a whole page is sorted out at once.
        """
        lines = [stamp if isinstance(stamp, bytes) else b"" for stamp in stamps]
        text = b"\n".join(lines)
        holds_line_break = text.count(b"\n") >= len(lines)  # one of the timestamps itself
        if holds_line_break or RUBY_UTC_LINES.fullmatch(text) is None:
            return range(len(stamps))
        low, high = ruby_utc(self.cutoff), ruby_utc(self.horizon)
        # The text has whole seconds: one equal to the cutoff's may lie before or after it, and has to be parsed.
        return [index for index, line in enumerate(lines) if not low < line <= high]

    def classify(self, stamp: Stamp) -> StaleAge | UnknownAge | None:
        """Return the age of a stale timestamp, or why its age is unknown; None for a fresh one."""
        if isinstance(stamp, int):
            return UnknownAge(b"", "its metadata is not a hash")
        age = self.stale_age(stamp)
        if isinstance(age, Unusable):
            return UnknownAge(stamp or b"", problem_of(age, stamp))
        return None if age is None else StaleAge(stamp or b"", age)

    def stale_age(self, stamp: bytes | None) -> float | Unusable | None:
        """Return the age in seconds if it is stale, None if it is fresh, or why the timestamp is unusable."""
        if stamp is None:
            return Unusable.MISSING
        time = parse_time(stamp)
        if time is None:
            return Unusable.UNREADABLE
        if time < self.cutoff:
            return (self.now - time).total_seconds()
        return Unusable.IN_THE_FUTURE if time > self.horizon else None

    def stale_age_since(self, first_seen: float) -> float | None:
        """Return the age in seconds since `first_seen`, an epoch, if it is stale; None if it is fresh."""
        age = self.now.timestamp() - first_seen
        return age if age > self.max_age_seconds else None


def problem_of(reason: Unusable, stamp: bytes | None) -> str | None:
    """Return the problem of an unusable timestamp; None if it is missing, which is common and harmless."""
    shown = (stamp or b"").decode("utf-8", errors="backslashreplace")
    match reason:
        case Unusable.MISSING:
            return None
        case Unusable.UNREADABLE:
            return f'no time information in "{shown}"'
        case Unusable.IN_THE_FUTURE:
            return f'"{shown}" is more than a day ahead'
