"""Time as a value that is handed in, so that a test can move it."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Answers with seconds since the epoch, fractions included."""

system_clock: Clock = time.time
