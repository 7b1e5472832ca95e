"""Record every few seconds that this worker is alive, and which queues it takes.

The worker's event loop triggers each heartbeat, so a worker that hangs or has lost its broker stops recording. A thread
writes it: a Redis that does not reply holds up nothing else.
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
from vmpooler_tasks.tasks.process import settings
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.workers")

HEARTBEAT_SECONDS = 10.0
FAILURE_LOG_INTERVAL = 300.0

STOP_SECONDS = 1.0
"""How long a stopping worker waits for Redis to remove its record. Without that, the record expires by age."""


class Heartbeat(StartStopStep):
    """Run the heartbeat while the worker is connected to its broker."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._recorder: Recorder | None = None
        self._timer: Any = None
        super().__init__(consumer, **options)

    def start(self, consumer: Any) -> None:
        self._recorder = Recorder(Database(settings().redis.location))
        self._record(consumer)
        self._timer = consumer.timer.call_repeatedly(HEARTBEAT_SECONDS, self._record, (consumer,))

    def stop(self, consumer: Any) -> None:
        del consumer
        timer, self._timer = self._timer, None
        recorder, self._recorder = self._recorder, None
        if timer is not None:
            timer.cancel()
        if recorder is not None:
            recorder.stop()

    shutdown = stop

    def _record(self, consumer: Any) -> None:
        if self._recorder is not None and consumer.task_consumer is not None:
            queues = sorted(queue.name for queue in consumer.task_consumer.queues)
            self._recorder.record(Worker(consumer.hostname, tuple(queues)))


class Recorder:
    """A thread that writes the latest heartbeat to Redis. A heartbeat that it had no time for is replaced."""

    def __init__(self, db: Database) -> None:
        self._db, self._throttle = db, Throttle(FAILURE_LOG_INTERVAL)
        self._next: Worker | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def record(self, worker: Worker) -> None:
        """Hand the worker's record to the thread. Never waits."""
        self._next = worker
        self._wake.set()

    def stop(self) -> None:
        """Remove the worker's record and end the thread. Waits at most STOP_SECONDS."""
        self._next = None
        self._wake.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        recorded: Worker | None = None
        while self._wake.wait():
            self._wake.clear()
            worker = self._next
            try:
                self._write(worker, recorded)
                recorded = worker
            except VmpoolerTasksError as error:
                if self._throttle.acquire():
                    _log.warning(
                        "[!] [workers] This worker could not record that it is alive: %s", on_one_line(str(error))
                    )
            if worker is None:
                self._db.close()
                return

    def _write(self, worker: Worker | None, recorded: Worker | None) -> None:
        if worker is not None:
            workers.record_worker(self._db, worker, time.time(), before=recorded if recorded != worker else None)
        elif recorded is not None:
            workers.forget_worker(self._db, recorded)
