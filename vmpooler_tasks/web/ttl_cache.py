"""Compute a response once that many pages request at the same moment."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """Cache a result by key for some seconds. Requests that arrive while it is computed get the same result."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: dict[Hashable, tuple[float, T]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            now = time.monotonic()
            self._kept = {name: kept for name, kept in self._kept.items() if now - kept[0] < self._seconds}
            if key not in self._kept:
                value = make()
                self._kept[key] = (time.monotonic(), value)
            return self._kept[key][1]
