"""The pool workers do nothing while another pool manager works on the same Redis, or while it is not known yet."""

import logging
from collections.abc import Sequence

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.manager_watch import UNWATCHED, ManagerWatch, WatchState
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store.pools import other_manager
from vmpooler_tasks.store.pools.other_manager import WatchCheck
from vmpooler_tasks.tasks.process import database
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.pools")

QUERY_INTERVAL = 1.0
"""Seconds between two queries of one process: not every task asks Redis. The scripts that start clones always do."""

LOG_INTERVAL = 60.0


class OtherManagerGuard:
    """What this process knows of another pool manager."""

    def __init__(self) -> None:
        self._query, self._log_line = Throttle(QUERY_INTERVAL), Throttle(LOG_INTERVAL)
        self._watch = UNWATCHED

    def refresh(self) -> ManagerWatch:
        """Return the watch. Read Redis at most once per interval, and log that another manager is at work."""
        if self._query.acquire():
            self._record(other_manager.read_watch(database()))
        return self._watch

    def observe(self, pools: Sequence[str], interval_seconds: float) -> WatchCheck:
        """Check whether another manager is at work. If there is none, correct VMPooler's counters.

        Return what was seen. One process has to do this at each check interval: the others only read the result.
        """
        now = database().clock()
        seen = other_manager.observe(database(), pools, now=now, interval_seconds=interval_seconds)
        _log_observation(seen, interval_seconds)
        self._record(other_manager.read_watch(database()))
        return seen

    def _record(self, watch: ManagerWatch) -> None:
        if watch.is_other_seen and self._log_line.acquire():
            _log.error(
                "[!] [pools] Another pool manager is at work on this Redis: these workers do nothing until it has been"
                " quiet for %d seconds",
                other_manager.QUIET_SECONDS,
            )
        self._watch = watch


def _log_observation(seen: WatchCheck, interval_seconds: float) -> None:
    if seen.evidence:
        what = "[!] [pools] Not made by these workers: %s. Another pool manager may be at work"
        _log.warning(what, on_one_line(seen.evidence))
    if seen.state is not seen.before and seen.state is WatchState.WATCHING:
        seconds = other_manager.WATCHED_INTERVALS * interval_seconds
        _log.info("[*] [pools] Watching for another pool manager for %g seconds before the next clone", seconds)
    if seen.became_alone:
        _log.info("[*] [pools] No other pool manager is at work: these workers manage the pools")
        for one in seen.corrected:
            shown = (one.key, on_one_line(one.wrong), one.right)
            _log.warning("[!] [pools] %s was %s, left behind by another pool manager: corrected to %s", *shown)


def is_alone() -> bool:
    """Return True if it is known that no other pool manager is at work, so that VMPooler's keys may be written."""
    try:
        return other_manager.read_watch(database()).is_alone
    except VmpoolerTasksError:
        return False


guard = OtherManagerGuard()
