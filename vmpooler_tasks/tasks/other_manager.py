"""The pool workers do nothing while another pool manager works on the same Redis."""

import logging

from vmpooler_tasks.store.pools import other_manager
from vmpooler_tasks.tasks.process import database
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.pools")

QUERY_INTERVAL = 5.0
"""Seconds between two queries of one process: not every task asks Redis."""

LOG_INTERVAL = 60.0


class OtherManagerGuard:
    """What this process knows of another pool manager."""

    def __init__(self) -> None:
        self._query, self._log_line = Throttle(QUERY_INTERVAL), Throttle(LOG_INTERVAL)
        self._is_seen = False

    def refresh(self) -> bool:
        """Return True if another manager was seen lately. Reads Redis at most once per interval, and logs."""
        if self._query.acquire():
            self._record(is_seen=other_manager.recent_sightings(database()) > 0)
        return self._is_seen

    def compare_counters(self) -> bool:
        """Compare VMPooler's counters with ours, correct them, and return True if another manager was seen lately.

        One process has to do this now and then: the others only read the result.
        """
        self._record(is_seen=other_manager.correct_counters(database()))
        return self._is_seen

    def _record(self, *, is_seen: bool) -> None:
        if is_seen and self._log_line.acquire():
            _log.error(
                "[!] [pools] Another pool manager is at work on this Redis: these workers do nothing until it has been"
                " quiet for %d seconds",
                other_manager.SIGHTING_SECONDS,
            )
        self._is_seen = is_seen


guard = OtherManagerGuard()
