"""Split long lists into parts that the server handles in a few milliseconds."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

CHUNK = 500
"""Names per round trip: one to two milliseconds for the server."""


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Yield parts of at most `size`, in order. An empty list has no parts."""
    return (items[start : start + size] for start in range(0, len(items), size))
