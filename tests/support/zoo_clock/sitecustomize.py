"""Python imports this at its start if it is on PYTHONPATH: the process' clock is wrong by ZOO_CLOCK seconds."""

import os
import time

_right = time.time


def _wrong() -> float:
    return _right() + float(os.environ["ZOO_CLOCK"])


time.time = _wrong
