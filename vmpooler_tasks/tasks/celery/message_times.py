"""The times in a message are the server's: until when it is of use (`expires`), and from when (`eta`).

Celery writes and compares them by the clock of its machine. A worker whose clock is ahead would drop each message of
another machine as expired, and hold back a retry, if it is behind.
"""

import time
from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

from celery.utils.time import maybe_iso8601

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.health.fleet_reasons import MAX_CLOCK_OFFSET_SECONDS
from vmpooler_tasks.tasks.process import database

TIMES = ("eta", "expires")


def to_server_time(headers: MutableMapping[str, Any]) -> None:
    """Change the times that Celery has just written by this machine's clock to the server's."""
    _shift(headers, _seconds_behind())


def to_local_time(headers: MutableMapping[str, Any]) -> None:
    """Change the times of a received message to those of this machine's clock, by which Celery compares them."""
    _shift(headers, -_seconds_behind())


def _seconds_behind() -> float:
    """Return by how many seconds this machine's clock is behind the server's; 0 while Redis is out of reach."""
    try:
        return database().clock() - time.time()
    except VmpoolerTasksError:
        return 0.0


def _shift(headers: MutableMapping[str, Any], seconds: float) -> None:
    """Add the seconds to each time. A clock that health calls right leaves the message as it is."""
    if abs(seconds) <= MAX_CLOCK_OFFSET_SECONDS:
        return
    for name in TIMES:
        if isinstance(text := headers.get(name), str) and text:
            try:
                headers[name] = (maybe_iso8601(text) + timedelta(seconds=seconds)).isoformat()
            except (OverflowError, ValueError):
                continue  # no time at all, or one at the end of the calendar: Celery decides
