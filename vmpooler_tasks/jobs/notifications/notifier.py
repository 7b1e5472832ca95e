"""The thread that observes and sends, in every worker, beat and web process. It holds up nothing else."""

import logging
import threading

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs.notifications.observe import observe_status
from vmpooler_tasks.jobs.notifications.send import send_due
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store import Database
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.notifications")

TICK_SECONDS = 3.0
WARNING_INTERVAL_SECONDS = 300.0


def is_active(settings: Settings) -> bool:
    """Return whether anybody is to be notified: there is a target, and health is checked."""
    return bool(settings.notify.targets) and settings.config.health_check_enabled


class Notifier:
    """Observes the health status every few seconds, and sends what is due. Start it in the process that it runs in."""

    def __init__(self, db: Database, settings: Settings, clock: Clock) -> None:
        self._db, self._settings, self._clock = db, settings, clock
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
                observe_status(self._db, self._settings, self._clock)
                send_due(self._db, self._settings)
            except VmpoolerTasksError as error:
                self._warn(str(error))
            except Exception as error:  # noqa: BLE001 - a bug must not end the notifications of this process
                self._warn(f"{type(error).__name__}: {error}")

    def _warn(self, why: str) -> None:
        if self._throttle.acquire():
            _log.warning("[!] [notify] Could not check whether somebody is to be notified: %s", on_one_line(why))
