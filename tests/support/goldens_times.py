"""How Ruby read the timestamps of the goldens, and which of them are times here."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone

import pytest

ZONES = {"UTC": UTC, "MST7": timezone(timedelta(hours=-7))}

_RUBY = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}")

# ISO 8601 and RFC 2822, which are times here as well. Without an offset: the process's own zone.
_OTHER_FORMS = {
    "2024-01-15": "2024-01-15T00:00:00",
    "2024-01-15 08:30:00": "2024-01-15T08:30:00",
    "2024-01-15 08:30:00 UTC": "2024-01-15T08:30:00+00:00",
    "2024-01-15 08:30:00.999 +0000": "2024-01-15T08:30:00.999+00:00",
    "2024-01-15T08:30:00.250+02:00": "2024-01-15T08:30:00.250+02:00",
    "2024-01-15T08:30:00Z": "2024-01-15T08:30:00+00:00",
    "20240115T083000Z": "2024-01-15T08:30:00+00:00",
    "Mon, 15 Jan 2024 08:30:00 GMT": "2024-01-15T08:30:00+00:00",
}

# What Ruby makes of these by guessing; the missing parts come from the recordings' clock.
_GUESSES = {
    "10:30": "2024-01-15T10:30:00",
    "12": "2024-01-12T00:00:00",
    "15/01/2024 08:30": "2024-01-15T08:30:00",
    "2024-01-15 08:30:00 PST": "2024-01-15T08:30:00-08:00",
    "2024/01/15 08:30:00 -0700": "2024-01-15T08:30:00-07:00",
    "24-01-15 08:30:00": "2024-01-15T08:30:00",
    "Jan 15": "2024-01-15T00:00:00",
    "Mon Jan 15 08:30:00 2024": "2024-01-15T08:30:00",
}


@contextmanager
def living_in(tz: str) -> Iterator[None]:
    """This process in another time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", tz)
        time.tzset()
        try:
            yield
        finally:
            patch.undo()
            time.tzset()


def reading(stamp: bytes, tz: str) -> tuple[float | None, bool]:
    """(the epoch that Ruby read, None if it refused; whether that was a guess)."""
    text = stamp.decode("utf-8", errors="replace")
    if _RUBY.fullmatch(text):
        try:
            return datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").timestamp(), False
        except ValueError:
            return None, False
    iso = _OTHER_FORMS.get(text) or _GUESSES.get(text)
    if iso is None:
        return None, False
    moment = datetime.fromisoformat(iso)
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZONES[tz])).timestamp(), text in _GUESSES
