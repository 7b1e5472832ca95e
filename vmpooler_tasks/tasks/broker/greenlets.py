"""kombu and redis-py wait with gevent's functions, also where they were imported while gevent patched Python.

While gevent patches Python's threads, it inspects every object in memory. One of them is Celery's current application,
which then reads `celeryconfig.py` and imports this project, kombu and redis-py. At that time `select` and `time` are
not patched yet. These modules keep copies of the unpatched functions. No other greenlet runs while one of those waits.
"""

import select
import time

from kombu.utils import eventio, functional
from redis import retry


def use_patched_functions() -> None:
    """Replace the copies by what gevent has put in place of them. Without gevent nothing changes.

    Call it before a connection to the broker is made. An import is too early: it may be in the middle of the patching.
    """
    eventio._selectf = select.select  # noqa: SLF001 - waits for messages; kombu has no option for it
    for copied_by in (functional, retry):  # wait between two attempts to connect
        copied_by.sleep = time.sleep  # type: ignore[attr-defined]
