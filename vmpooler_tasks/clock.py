"""The current time as an argument, so that a test can move the clock."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Returns the seconds since the epoch, with fractions."""

system_clock: Clock = time.time
