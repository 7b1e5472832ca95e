"""Long lists in parts that a server answers in a few milliseconds."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

CHUNK = 500
"""Names per round trip: one to two milliseconds of the server's time."""


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Parts of at most `size`, in order; none of an empty list."""
    return (items[start : start + size] for start in range(0, len(items), size))
