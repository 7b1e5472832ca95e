"""Parse and write times, in VMPooler's form and in that of the guide.

VMPooler writes Ruby's `Time#to_s` (`2024-01-15 10:30:00 +0000`, any offset, or `UTC`); ISO 8601 and RFC 2822 are found
too. Nothing else is a time: Ruby's guesses ("12" is the 12th of this month) do not count.
"""

import functools
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

RUBY_LENGTH = len("2024-01-15 10:30:00 +0000")
DATE_LENGTH = len("2024-01-15 10:30:00")

# Clocks and zones disagree by hours. A time further ahead than this is no time but a mistake, and would keep its VM
# from ever growing stale.
MAX_AHEAD = timedelta(days=1)

EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
"""The epochs of the first and the last second of the years 1 to 9999."""

RUBY_UTC_LINES = re.compile(
    rb"(?:(?:\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]) (?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d \+0000)?(?:\n|\Z))*"
)
"""Matches lines that are all Ruby's times in UTC, or empty. It accepts the 31st of any month: parse to get a time."""

_ISO_8601 = re.compile(
    r"\d{4}(-?)\d\d\1\d\d"
    r"(?:[T ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)?"
    r" ?(?P<zone>Z|z|UTC|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_RFC_2822 = re.compile(
    r"(?:[A-Z][a-z]{2}, ?)?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d(?::\d\d)? (?:[+-]\d{4}|GMT|UT|Z|[ECMP][SD]T)",
    re.ASCII,
)


def parse_time(raw: bytes) -> datetime | None:
    """Return the time of `raw`, with its zone; None if it is not a time.

    A time without a zone is local time of this process, as in VMPooler.
    """
    try:
        text = raw.decode("ascii")
        if len(text) == RUBY_LENGTH and text[DATE_LENGTH] == " " and text[10] == " ":
            # The form of nearly every entry. Joined to the date the offset is ISO 8601, which the C parser reads.
            return datetime.fromisoformat(text[:DATE_LENGTH] + text[DATE_LENGTH + 1 :])
        return _parse_other(text)
    except (ValueError, OverflowError):  # the latter: local time at either end of the calendar
        return None


def _parse_other(text: str) -> datetime | None:
    if found := _ISO_8601.fullmatch(text):
        zone = found["zone"] or ""
        moment = text.removesuffix(zone).rstrip(" ").replace(",", ".")
        parsed = datetime.fromisoformat(moment + zone.replace("UTC", "Z").upper())
        return parsed if parsed.tzinfo else parsed.astimezone()
    if _RFC_2822.fullmatch(text):
        parsed = parsedate_to_datetime(text)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return None


def moment(epoch: float) -> datetime:
    """Return an epoch as a time in UTC."""
    return datetime.fromtimestamp(epoch, UTC)


def ruby_utc(time: datetime) -> bytes:
    """Return the time as Ruby writes it: `2024-01-15 10:30:00 +0000`, without fractions."""
    return time.astimezone(UTC).isoformat(" ", "seconds").replace("+00:00", " +0000").encode()


@functools.lru_cache(maxsize=64)  # a cycle writes thousands of dead letters at one instant
def iso_utc(epoch: float) -> str:
    """Return the guide's form, `2024-01-15T10:30:00Z`: UTC, whole seconds, the nearest time that it can write."""
    nearest = min(max(epoch, EARLIEST), LATEST)
    return moment(int(nearest)).isoformat(timespec="seconds").replace("+00:00", "Z")


def whole_seconds(age: float) -> int:
    """Return whole seconds, rounded as in Ruby: halves away from zero."""
    return int(age + 0.5) if age >= 0 else -int(0.5 - age)


def time_ago(iso: str, now: float | None) -> str:
    """Return how long ago the time is (`12 s ago`); without `now`, or for text that is not a time, when it is."""
    time = parse_time(iso.encode())
    return f"at {iso}" if time is None or now is None else f"{span(now - time.timestamp())} ago"


def time_ahead(iso: str, now: float | None) -> str:
    """Return in how long the time comes (`in 39 s`, `now`), or as `time_ago` when it is."""
    time = parse_time(iso.encode())
    if time is None or now is None:
        return f"at {iso}"
    ahead = time.timestamp() - now
    return f"in {span(ahead)}" if ahead >= 1 else "now"


def span(seconds: float, *, at_least: int = 2) -> str:
    """Return a duration in the largest unit of which it has `at_least` so many: `12 s`, `5 min`, `3 h`, `2 d`."""
    left = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if left >= at_least * size:
            return f"{left // size} {unit}"
    return f"{left} s"
