"""Record every few seconds that this worker or beat is alive: its queues, pools, clock and running tasks.

The worker's event loop, or beat's own loop, triggers each heartbeat: a process that hangs stops recording. In a worker
a thread writes it, so that a Redis that does not reply holds up nothing else.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from celery.bootsteps import CLOSE, TERMINATE, StartStopStep
from celery.worker.consumer import Tasks

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.fleet import (
    HEARTBEAT_SECONDS,
    Heartbeat,
    ProcessKind,
    RunningTask,
    clock_offset,
)
from vmpooler_tasks.model.health.fleet_reasons import JUDGED_HEARTBEATS
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet import heartbeats, pool_lists
from vmpooler_tasks.tasks.guards.remote_control import LASTING_CHANGES
from vmpooler_tasks.tasks.observe.running import running_tasks
from vmpooler_tasks.tasks.observe.wrong_keys import log_set_aside_keys
from vmpooler_tasks.tasks.process import settings
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.workers")

FAILURE_LOG_INTERVAL = 300.0

STOP_SECONDS = 1.0
"""How long a stopping worker waits for Redis to take its goodbye. Without that, its record expires by age."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a worker does at this moment: the queues that it takes, the tasks that it runs, and `Heartbeat.changes`."""

    queues: Sequence[str] = ()
    tasks: Sequence[RunningTask] = ()
    changes: Sequence[str] = ()


class HeartbeatSender:
    """Records the heartbeats of this process, and compares its clock with the server's at each of them."""

    def __init__(self, db: Database, chosen: Settings, kind: ProcessKind, name: str) -> None:
        self._db, self._kind, self._name = db, kind, name
        self._host, self._configuration = socket.gethostname(), chosen.digest()
        self._pools = [pool.name for pool in chosen.pools]
        self._manages_pools, self._is_first = chosen.config.manage_pools, True
        self._offsets: tuple[float, ...] = ()
        self._last = Activity()

    def send(self, activity: Activity = Activity()) -> None:
        """Record that this process is alive. Raises VmpoolerTasksError."""
        self._last = activity
        self._record(activity, is_stopped=False)

    def say_goodbye(self) -> None:
        """Record that this process stops on purpose. Raises VmpoolerTasksError."""
        self._record(Activity(self._last.queues), is_stopped=True)

    def _record(self, activity: Activity, *, is_stopped: bool) -> None:
        sent, ahead = time.time(), self._offsets[0] if self._offsets else 0.0
        heartbeat = Heartbeat(
            kind=self._kind,
            name=self._name,
            host=self._host,
            pid=os.getpid(),
            configuration=self._configuration,
            manages_pools=self._manages_pools,
            queues=activity.queues,
            changes=activity.changes,
            sent=sent,
            clock_offsets=self._offsets,
            tasks=[replace(task, since=task.since - ahead) for task in activity.tasks],
            stopped=is_stopped,
        )
        if self._is_first:  # a pool that returns counts as configured before its worker takes any work
            pool_lists.publish(self._db, self._configuration, self._pools)
            self._is_first = False
        server = heartbeats.record(self._db, heartbeat, self._pools)
        offset = round(clock_offset(sent, server, time.time()), 3)
        self._offsets = (offset, *self._offsets)[:JUDGED_HEARTBEATS]
        log_set_aside_keys(self._db)


class HeartbeatStep(StartStopStep):
    """Run the heartbeat while the worker is connected to its broker."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._recorder: Recorder | None = None
        self._timer: Any = None
        super().__init__(consumer, **options)

    def start(self, consumer: Any) -> None:
        db = Database(settings().redis.location)
        self._recorder = Recorder(db, HeartbeatSender(db, settings(), ProcessKind.WORKER, consumer.hostname))
        self._record(consumer)
        self._timer = consumer.timer.call_repeatedly(HEARTBEAT_SECONDS, self._record, (consumer,))

    def stop(self, consumer: Any) -> None:
        timer, self._timer = self._timer, None
        recorder, self._recorder = self._recorder, None
        if timer is not None:
            timer.cancel()
        if recorder is not None:
            # Celery stops this step also when the connection to the broker is lost: that is no goodbye.
            recorder.stop(says_goodbye=consumer.blueprint.state in (CLOSE, TERMINATE))

    shutdown = stop

    def _record(self, consumer: Any) -> None:
        if self._recorder is not None and consumer.task_consumer is not None:
            queues = sorted(queue.name for queue in consumer.task_consumer.queues)
            self._recorder.record(Activity(queues, running_tasks(), LASTING_CHANGES.as_texts()))


class Recorder:
    """A thread that writes the latest heartbeat to Redis. A heartbeat that it had no time for is replaced."""

    def __init__(self, db: Database, sender: HeartbeatSender) -> None:
        self._db, self._sender, self._throttle = db, sender, Throttle(FAILURE_LOG_INTERVAL)
        self._next = Activity()
        self._stopped, self._says_goodbye = False, False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def record(self, activity: Activity) -> None:
        """Hand what the worker does to the thread. Never waits."""
        self._next = activity
        self._wake.set()

    def stop(self, *, says_goodbye: bool) -> None:
        """End the thread, after a goodbye if that is wanted. Waits at most STOP_SECONDS."""
        self._stopped, self._says_goodbye = True, says_goodbye
        self._wake.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while self._wake.wait():
            self._wake.clear()
            is_last = self._stopped
            try:
                if not is_last:
                    self._sender.send(self._next)
                elif self._says_goodbye:
                    self._sender.say_goodbye()
            except VmpoolerTasksError as error:
                if self._throttle.acquire():
                    _log.warning(
                        "[!] [workers] This worker could not record that it is alive: %s", on_one_line(str(error))
                    )
            if is_last:
                self._db.close()
                return
