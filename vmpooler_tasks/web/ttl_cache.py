"""An answer that many pages ask for at the same moment is worked out once."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """Keeps an answer for so many seconds, for each key; of those who come while it is worked out, all get it."""

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
