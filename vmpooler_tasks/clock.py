"""The current time as an argument, so that a test can move the clock. All machines agree on that of the server.

A machine's own clock may be wrong. What several machines read (leases, suspensions, ages) is by the server's clock.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]
"""Returns the seconds since the epoch, with fractions."""

system_clock: Clock = time.time
"""This machine's own clock."""

MAX_DRIFT_SECONDS = 5.0
"""How far the server's time may differ between two processes that read it. A time that is further ahead than that was
written while a clock was wrong: it counts as due."""

RESYNC_SECONDS = 5.0
"""The server's time is read again after so long. A server that changed, or a machine that slept, is noticed by then."""


@dataclass(frozen=True, slots=True)
class _Offset:
    """By how much the server's time is ahead of this machine's timer, and the timer's value when that was read."""

    seconds: float
    read_at: float


class ServerClock:
    """A `Clock` that shows the server's time. Threads and forked children may share it.

    Most calls cost no round trip: between two reads it adds what this machine's timer counts, which no change of the
    machine's clock moves. A call that has to read the server's time raises what `read` raises.
    """

    def __init__(self, read: Callable[[], float], timer: Callable[[], float] = time.monotonic) -> None:
        self._read, self._timer = read, timer
        self._offset: _Offset | None = None

    def __call__(self) -> float:
        """Return the seconds since the epoch, by the server's clock."""
        offset = self._offset
        if offset is None or self._timer() - offset.read_at >= RESYNC_SECONDS:
            offset = self._resync()
        return self._timer() + offset.seconds

    def _resync(self) -> _Offset:
        """Read the server's time. The known offset stays if it fits: the delay of a read does not move this clock."""
        sent = self._timer()
        server = self._read()
        received = self._timer()
        earliest, latest = server - received, server - sent
        known = self._offset  # not that of before the read: of threads that read at once, the first decides
        seconds = earliest if known is None else min(max(known.seconds, earliest), latest)
        offset = self._offset = _Offset(seconds, received)
        return offset
