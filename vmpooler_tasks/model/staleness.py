"""When an entry of a queue is stale, and what its effect is called. The guide's section: Auto-Purge."""

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
"""The metadata field that an entry's age in a queue counts from.

A completed VM counts from `destroy` alone (VMPooler falls back to the checkout time, and so drops VMs that entered the
queue a second ago, undestroyed)."""

ORPHAN_FIELD = b"clone"


class Age(Enum):
    """Why an entry's age is not known from its own timestamp."""

    MISSING = auto()
    UNREADABLE = auto()
    IN_THE_FUTURE = auto()


class Aged(NamedTuple):
    """A timestamp that is stale, and by how many seconds of age."""

    stamp: bytes
    seconds: float


class Doubt(NamedTuple):
    """A timestamp (b"" for none) that cannot tell an age, and what to say of it, if anything."""

    stamp: bytes
    complaint: str | None


Stamp = bytes | int | None
"""A timestamp as stored; None if it is missing; a number where the metadata is no hash."""


@dataclass(frozen=True, slots=True)
class AgeLimit:
    """Which timestamps are stale at one instant: those *more* than `max_age_seconds` before `now`."""

    now: datetime
    max_age_seconds: float
    cutoff: datetime
    horizon: datetime

    @classmethod
    def at(cls, now: float, max_age_seconds: float) -> "AgeLimit":
        """`now` in seconds since the epoch."""
        instant, oldest = moment(now), moment(EARLIEST)
        # An age that reaches back beyond the calendar is how some configurations say never.
        never = max_age_seconds > now - EARLIEST - 1
        cutoff = oldest if never else instant - timedelta(seconds=max_age_seconds)
        return cls(instant, max_age_seconds, cutoff, instant + MAX_AHEAD)

    def doubtful(self, stamps: Sequence[Stamp]) -> Sequence[int]:
        """The places of those that `judge` has to look at; the others are fresh.

        Nearly all timestamps are Ruby's in UTC, and these compare as text: a page of them is sorted out at once.
        """
        lines = [stamp if isinstance(stamp, bytes) else b"" for stamp in stamps]
        text = b"\n".join(lines)
        if RUBY_UTC_LINES.fullmatch(text) is None or text.count(b"\n") >= len(lines):  # one holds a line break itself
            return range(len(stamps))
        low, high = ruby_utc(self.cutoff), ruby_utc(self.horizon)
        # The text has whole seconds: one equal to the cutoff's may lie before it or not, and is looked at.
        return [index for index, line in enumerate(lines) if not low < line <= high]

    def judge(self, stamp: Stamp) -> Aged | Doubt | None:
        """None of a fresh one."""
        if isinstance(stamp, int):
            return Doubt(b"", "its metadata is no hash")
        age = self.stale_age(stamp)
        if isinstance(age, Age):
            return Doubt(stamp or b"", complaint(age, stamp))
        return None if age is None else Aged(stamp or b"", age)

    def stale_age(self, stamp: bytes | None) -> float | Age | None:
        """Seconds of age if stale, None if not, an `Age` if the timestamp cannot tell."""
        if stamp is None:
            return Age.MISSING
        time = parse_time(stamp)
        if time is None:
            return Age.UNREADABLE
        if time < self.cutoff:
            return (self.now - time).total_seconds()
        return Age.IN_THE_FUTURE if time > self.horizon else None

    def stale_since(self, first_seen: float) -> float | None:
        """The same for an entry that ages from when it was first seen, in seconds since the epoch."""
        age = self.now.timestamp() - first_seen
        return age if age > self.max_age_seconds else None


def complaint(age: Age, stamp: bytes | None) -> str | None:
    """What to say of a timestamp that cannot tell; None of one that is merely missing, which is common and harmless."""
    shown = (stamp or b"").decode("utf-8", errors="backslashreplace")
    match age:
        case Age.MISSING:
            return None
        case Age.UNREADABLE:
            return f'no time information in "{shown}"'
        case Age.IN_THE_FUTURE:
            return f'"{shown}" is more than a day ahead'
