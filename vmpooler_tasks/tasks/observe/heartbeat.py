"""A worker says every few seconds that it lives, and what it takes.

Its event loop winds the clock, so a worker that hangs, or has lost its broker, falls silent. A thread does the telling:
a Redis that does not answer holds up nothing else.
"""

import logging
import threading
import time
from typing import Any

from celery.bootsteps import StartStopStep
from celery.worker.consumer import Tasks

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet import workers
from vmpooler_tasks.store.fleet.workers import Worker
from vmpooler_tasks.tasks.celery.configuration import settings
from vmpooler_tasks.throttle import Sparingly

_log = logging.getLogger("vmpooler_tasks.workers")

EVERY_SECONDS = 10.0
TOLD_EVERY = 300.0

STOP_SECONDS = 1.0
"""How long a stopping worker waits for Redis to forget it; then it is forgotten by its age."""


class Presence(StartStopStep):
    """Starts with each connection to the broker, and stops with it."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._teller: Teller | None = None
        self._timer: Any = None
        super().__init__(consumer, **options)

    def start(self, consumer: Any) -> None:
        self._teller = Teller(Database(settings().redis.location))
        self._sign(consumer)
        self._timer = consumer.timer.call_repeatedly(EVERY_SECONDS, self._sign, (consumer,))

    def stop(self, consumer: Any) -> None:
        del consumer
        timer, self._timer = self._timer, None
        teller, self._teller = self._teller, None
        if timer is not None:
            timer.cancel()
        if teller is not None:
            teller.stop()

    shutdown = stop

    def _sign(self, consumer: Any) -> None:
        if self._teller is not None and consumer.task_consumer is not None:
            queues = sorted(queue.name for queue in consumer.task_consumer.queues)
            self._teller.tell(Worker(consumer.hostname, tuple(queues)))


class Teller:
    """The thread that writes it down; what it had no time for is replaced by what comes next."""

    def __init__(self, db: Database) -> None:
        self._db, self._saying = db, Sparingly(TOLD_EVERY)
        self._next: Worker | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self._thread.start()

    def tell(self, worker: Worker) -> None:
        """Never waits."""
        self._next = worker
        self._wake.set()

    def stop(self) -> None:
        """The worker is forgotten."""
        self._next = None
        self._wake.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        told: Worker | None = None
        while self._wake.wait():
            self._wake.clear()
            worker = self._next
            try:
                told = self._record(worker, told)
            except VmpoolerTasksError as error:
                if self._saying.is_time():
                    _log.warning(
                        "[!] [workers] This worker could not record that it lives: %s", on_one_line(str(error))
                    )
            if worker is None:
                self._db.close()
                return

    def _record(self, worker: Worker | None, told: Worker | None) -> Worker | None:
        if worker is not None:
            workers.is_alive(self._db, worker, time.time(), before=told if told != worker else None)
        elif told is not None:
            workers.has_stopped(self._db, told)
        return worker
