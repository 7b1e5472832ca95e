"""Check health as soon as a watched fact changes. Every worker and beat watches; one of them acts at a time."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.health import changes, check
from vmpooler_tasks.jobs.health.check import Publish
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.key_types import typed_keys
from vmpooler_tasks.store.redis import locks
from vmpooler_tasks.store.redis.locks import OwnedLock
from vmpooler_tasks.store.redis.wrong_keys import find_wrong_keys, set_aside

_log = logging.getLogger("vmpooler_tasks.health")

WATCH_TURN_SECONDS = 2.0
"""A process reads the facts for all others: only one does so within this time."""

MIN_PAUSE_SECONDS = 5.0
"""The pause after each of these checks. After a longer one, it is as long as the check took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What watching needs. `broker` as in `read.broker_or_own`; `publish` gets the result of each check."""

    db: Database
    settings: Settings
    clock: Clock
    broker: Database | None = None
    publish: Publish | None = None


def take_turn(watch: Watch) -> None:
    """Compare the facts with those of the last check, and check health if one changed.

    Before that, set aside our own keys of a wrong type. Do nothing if another process has this turn, or health checks
    are switched off. Raises VmpoolerTasksError.
    """
    if not watch.settings.config.health_check_enabled:
        return
    if not locks.take_turn(watch.db, keys.HEALTH_WATCH, WATCH_TURN_SECONDS):
        return
    set_aside(watch.db, find_wrong_keys(watch.db, typed_keys((), watch.settings.providers)))
    seen = changes.read_watched(watch.db, watch.settings, watch.clock(), watch.broker)
    changed = changes.changed_facts(watch.db, watch.settings, seen)
    if changed:
        _check(watch, changed)


def _check(watch: Watch, changed: Sequence[str]) -> None:
    """Check health, unless another process does, or did so a moment ago."""
    lock = OwnedLock(watch.db, keys.HEALTH_CHECK_LOCK, "the health check")
    if not lock.acquire():
        return
    started = time.monotonic()
    try:
        _log.info("[*] [health] Checking now, because of a change: %s", ", ".join(changed))
        with lock.renewed():
            check.run(
                watch.db,
                watch.settings,
                watch.clock,
                is_scheduled=False,
                publish=watch.publish,
                broker=watch.broker,
            )
    finally:
        lock.release_after(max(MIN_PAUSE_SECONDS, time.monotonic() - started))
