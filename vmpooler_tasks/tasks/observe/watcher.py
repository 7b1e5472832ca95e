"""Watch, in a thread of each worker and beat, for facts that change health, and check it as soon as one does."""

import logging
import threading
import time

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs.health.watch import Watch, take_turn
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.observe.publisher import publish
from vmpooler_tasks.tasks.process import settings
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.health")

TICK_SECONDS = 3.0
WARNING_INTERVAL_SECONDS = 300.0


def start_watcher() -> None:
    """Start the thread. It ends with the process. Redis may come and go."""
    if settings().config.health_check_enabled:
        threading.Thread(target=_run, name="health-watcher", daemon=True).start()


def _run() -> None:
    # Connections of its own: a check must not wait for a task's, nor a task for a check's.
    db = Database(settings().redis.location)
    broker = Database(settings().broker_location) if settings().broker_url else db
    watch = Watch(db=db, settings=settings(), clock=db.clock, broker=broker, publish=publish)
    throttle = Throttle(WARNING_INTERVAL_SECONDS)
    while True:
        time.sleep(TICK_SECONDS)
        try:
            take_turn(watch)
        except VmpoolerTasksError as error:
            _log.debug("could not watch health: %s", on_one_line(str(error)))  # heartbeats and checks report it
        except Exception as error:  # noqa: BLE001 - a bug must not end the thread for good
            if throttle.acquire():
                _log.error("[!] [health] Could not watch health: %s", on_one_line(repr(error)))
