"""What would be said thousands of times is said now and then."""

import time
from collections.abc import Callable
from math import inf


class Sparingly:
    """Not more often than every so many seconds, in this process."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._last = -inf

    def is_time(self) -> bool:
        """Whether it is time again; then it has been."""
        now = self._clock()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True
