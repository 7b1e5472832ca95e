"""Numbers as they stand in Redis, where anybody may have written anything."""

import math
import re

_LEADING_NUMBER = re.compile(rb"\s*([+-]?\d+)")


def finite(text: str | None) -> float | None:
    """The number; None for none, or for what is no number: a time that cannot be read counts as never."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def leading_number(raw: bytes | None) -> int:
    """As Ruby's `to_i` reads a counter: the number that the text begins with, else 0."""
    found = _LEADING_NUMBER.match(raw or b"")
    return int(found[1]) if found else 0
