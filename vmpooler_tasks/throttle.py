"""Do something that could happen thousands of times only now and then."""

import time
from collections.abc import Callable
from math import inf


class Throttle:
    """Let one call through per interval, in this process."""

    def __init__(self, interval_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_seconds, self._clock = interval_seconds, clock
        self._last = -inf

    def acquire(self) -> bool:
        """Return True at most once per interval, and start the next interval."""
        now = self._clock()
        if now - self._last < self._interval_seconds:
            return False
        self._last = now
        return True


class RepeatThrottle:
    """Let one call through per interval and text, in this process. A text other than the last one passes at once."""

    def __init__(self, interval_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_seconds, self._clock = interval_seconds, clock
        self._text, self._throttle = "", Throttle(interval_seconds, clock)

    def acquire(self, text: str) -> bool:
        """Return True at most once per interval while the text stays the same, and start the next interval."""
        if text != self._text:
            self._text, self._throttle = text, Throttle(self._interval_seconds, self._clock)
        return self._throttle.acquire()
