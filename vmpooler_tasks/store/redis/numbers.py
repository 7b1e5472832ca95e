"""Read numbers, and errors with their time, from Redis, where any program may have written anything."""

import math
import re

from vmpooler_tasks.model.pools.suspension import LastError

_LEADING_NUMBER = re.compile(rb"\s*([+-]?\d+)")


def finite(raw: str | bytes | None) -> float | None:
    """Return the finite number; None for anything else: an unreadable time counts as never."""
    text = raw.decode(errors="replace") if isinstance(raw, bytes) else raw
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def count(raw: str | bytes | None) -> int:
    """Return the count; 0 for anything else: what is no number, not finite or below zero."""
    return max(int(finite(raw) or 0), 0)


def leading_number(raw: bytes | None) -> int:
    """Return the number at the start of the text, else 0, as Ruby's `to_i` reads a counter."""
    found = _LEADING_NUMBER.match(raw or b"")
    return int(found[1]) if found else 0


def parse_last_error(error: bytes | None, error_at: bytes | None) -> LastError | None:
    """Return the last error from its text and the epoch at which it was counted; None without one of them."""
    at = finite(error_at)
    return None if error is None or at is None else LastError(error.decode(errors="replace"), at)
