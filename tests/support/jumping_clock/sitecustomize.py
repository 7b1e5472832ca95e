"""Python imports this at its start if it is on PYTHONPATH: the clock is wrong by the seconds in the file JUMPING_CLOCK.

A test that writes the file makes the clock of a running process jump.
"""

import os
import time
from pathlib import Path

FILE = Path(os.environ["JUMPING_CLOCK"])

_right = time.time


def _jumped() -> float:
    return _right() + float(FILE.read_text(encoding="utf-8"))


time.time = _jumped
