"""The thread that observes and sends, in every worker, beat and web process. It holds up nothing else.

They take turns to observe: one of them reads the status for all. Each of them sends.
"""

import logging
import threading

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import StoreUnavailableError, VmpoolerTasksError
from vmpooler_tasks.jobs.notifications.observe import observe_status
from vmpooler_tasks.jobs.notifications.outage import RedisOutage
from vmpooler_tasks.jobs.notifications.send import send_due
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.redis.locks import take_turn
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.notifications")

TICK_SECONDS = 3.0

OBSERVE_TURN_SECONDS = 2.0
"""A process observes for all others: only one does so within this time."""

WARNING_INTERVAL_SECONDS = 300.0


def is_active(settings: Settings) -> bool:
    """Return whether anybody is to be notified: there is a target, and health is checked, by more than an observer."""
    config = settings.config
    return bool(settings.notify.targets) and config.health_check_enabled and not config.observe_only


class Notifier:
    """Observes the health status every few seconds, in turn with other processes, and sends what is due.

    Start it in the process that it runs in.
    """

    def __init__(self, db: Database, settings: Settings, clock: Clock, *, follows_outages: bool = False) -> None:
        """With `follows_outages` the process also reports that Redis does not reply; a few processes should do so."""
        self._db, self._settings, self._clock = db, settings, clock
        self._broker = Database(settings.broker_location) if settings.broker_url else None
        self._outage = RedisOutage(db, settings) if follows_outages else None
        self._throttle = Throttle(WARNING_INTERVAL_SECONDS)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)

    def start(self) -> None:
        """Start the thread; do nothing if nobody is to be notified."""
        if is_active(self._settings):
            self._thread.start()

    def stop(self) -> None:
        """Let the thread end after what it does now. Never waits: another process sends the rest."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(TICK_SECONDS):
            try:
                self._tick()
            except VmpoolerTasksError as error:
                self._warn(str(error))
            except Exception as error:  # noqa: BLE001 - a bug must not end the notifications of this process
                self._warn(f"{type(error).__name__}: {error}")

    def _tick(self) -> None:
        try:
            if take_turn(self._db, keys.NOTIFY_WATCH, OBSERVE_TURN_SECONDS):
                observe_status(self._db, self._settings, self._clock, self._broker)
        except StoreUnavailableError as error:
            if self._outage is not None:
                self._outage.record_failure(str(error))
            raise
        if self._outage is not None:
            self._outage.record_end()
        send_due(self._db, self._settings)

    def _warn(self, why: str) -> None:
        if self._throttle.acquire():
            _log.warning("[!] [notify] Could not check whether somebody is to be notified: %s", on_one_line(why))
