"""Split long lists into parts that the server handles in a few milliseconds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

CHUNK = 500
"""Names per round trip: one to two milliseconds for the server."""


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Yield parts of at most `size`, in order. An empty list has no parts."""
    return (items[start : start + size] for start in range(0, len(items), size))


def parts_by_size(items: Iterable[T], size: Callable[[T], int], max_count: int, max_size: int) -> Iterator[Sequence[T]]:
    """Yield parts of at most `max_count` items and `max_size` bytes, in order. An item that is larger comes alone."""
    part, part_size = list[T](), 0
    for item in items:
        item_size = size(item)
        if part and (len(part) == max_count or part_size + item_size > max_size):
            yield part
            part, part_size = [], 0
        part.append(item)
        part_size += item_size
    if part:
        yield part
