"""Compute a result once that many pages or tasks need at the same moment."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache

T = TypeVar("T")

MAX_RESULTS = 100
"""Results that a cache keeps. The one that was not used for the longest time goes first."""


class ResultCache(Generic[T]):
    """Cache a result by key for some seconds. Callers that come while it is computed wait and get the same result.

    One result is computed at a time, whatever its key: each of them reads a great deal from Redis.
    """

    def __init__(self, seconds: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._results: TTLCache[Hashable, T] = TTLCache(MAX_RESULTS, seconds, timer)

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the kept result, or compute it and keep it. An error of `compute` is raised, and not kept."""
        with self._lock:
            try:
                return self._results[key]
            except KeyError:
                result = compute()
            self._results[key] = result
            return result
