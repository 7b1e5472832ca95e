"""Celery's consumer, which also keeps messages that it cannot decode, and shows that it is alive."""

import functools
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from celery.bootsteps import StartStopStep
from celery.exceptions import CPendingDeprecationWarning
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer import Tasks

from vmpooler_tasks.redis_client import REFUSALS
from vmpooler_tasks.tasks.broker.holders import HELD_MESSAGES, SWEEP_SECONDS, silence_seconds
from vmpooler_tasks.tasks.broker.refusals import BROKER_REFUSALS, USE_QUEUES
from vmpooler_tasks.tasks.celery.failures import keep_message
from vmpooler_tasks.tasks.celery.internal_errors import guard_requests, guard_tracers
from vmpooler_tasks.tasks.celery.message_times import to_local_time
from vmpooler_tasks.tasks.guards.remote_control import RemoteControlStep
from vmpooler_tasks.tasks.observe.heartbeat import HeartbeatStep
from vmpooler_tasks.tasks.observe.liveness import INTERVAL_SECONDS, signal_alive
from vmpooler_tasks.tasks.observe.outages import note_broker_connected, note_broker_failure
from vmpooler_tasks.tasks.observe.running import active_requests, copied
from vmpooler_tasks.tasks.process import settings

_log = logging.getLogger("vmpooler_tasks.workers")

WITHOUT_NEIGHBORS = {"without_mingle": True, "without_gossip": True}
"""A worker does not talk to other workers. Celery has no setting for it, only two options of `celery worker`.

Mingle copies revoked tasks and a logical clock, gossip elects leaders. Nothing here uses them. They cost a second at
each start, a connection, and a subscription that `deploy/redis/users.acl` does not grant. Events for Flower and remote
control are other steps and stay on.
"""

UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""Errors of reading an unexpected value. After an error of Redis, which is another one, Celery connects again."""

STOCK_CONTROL = "celery.worker.consumer.control:Control"
"""Celery's step of remote control, which carries out every command."""

STABLE_SECONDS = 5.0
"""A connection that holds for so long is good: when it is lost, the next one is made at once."""

MAX_PAUSE_SECONDS = 8.0


class HeldMessagesStep(StartStopStep):
    """Renew what this worker holds, and return the messages of workers that are gone, while it is connected."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._timer: Any = None
        self._silence = silence_seconds(settings().config.lease_seconds)
        super().__init__(consumer, **options)

    def start(self, consumer: Any) -> None:
        HELD_MESSAGES.running_tags = functools.partial(_running_tags, consumer)
        self._sweep(consumer)
        self._timer = consumer.timer.call_repeatedly(SWEEP_SECONDS, self._sweep_again, (consumer,))

    def stop(self, consumer: Any) -> None:
        del consumer
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    shutdown = stop

    def _sweep_again(self, consumer: Any) -> None:
        BROKER_REFUSALS.note(USE_QUEUES, "")  # this connection has held for a while
        self._sweep(consumer)

    def _sweep(self, consumer: Any) -> None:
        if consumer.task_consumer is not None:
            HELD_MESSAGES.sweep(consumer.task_consumer.channel, silence=self._silence)


def _running_tags(consumer: Any) -> frozenset[str]:
    """Return the tags of the messages whose tasks this worker runs, will run, or has run without an acknowledgement.

    None when it stops at once.
    """
    if state.should_terminate:
        return frozenset()
    requests = (*active_requests(), *_given_to_the_pool(consumer))
    messages = (*copied(HELD_MESSAGES.worked_on), *(request.message for request in requests))
    return frozenset(message.delivery_tag for message in messages)


def _given_to_the_pool(consumer: Any) -> list[Any]:
    """Return the requests that the pool runs in any case: a pool of threads or greenlets takes more than it has.

    A pool of processes gives back what no process has started.
    """
    return [] if consumer.pool.uses_semaphore else copied(state.reserved_requests)


class Reconnections:
    """How long to wait before the next connection: not at all, or longer each time that one fails soon."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last, self._pause = clock, -math.inf, 0.0

    def next_pause(self) -> float:
        """Return the seconds until the next connection, and count this one as made then."""
        now = self._clock()
        is_soon = now - self._last < STABLE_SECONDS
        self._pause = min(max(2 * self._pause, 1.0), MAX_PAUSE_SECONDS) if is_soon else 0.0
        self._last = now + self._pause
        return self._pause


class Consumer(CeleryConsumer):
    class Blueprint(CeleryConsumer.Blueprint):
        default_steps = (
            *(step for step in CeleryConsumer.Blueprint.default_steps if step != STOCK_CONTROL),
            *(RemoteControlStep, HeartbeatStep, HeldMessagesStep),
        )

    def __init__(self, *args: Any, worker_options: Mapping[str, Any] | None = None, **options: Any) -> None:
        self._reconnections = Reconnections()
        # At each lost connection, Celery warns of another default of its next version. The setting is set here.
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
        super().__init__(*args, worker_options={**(worker_options or {}), **WITHOUT_NEIGHBORS}, **options)

    def on_connection_error_after_connected(self, exc: BaseException) -> None:
        """Close the connection. Wait before the next one if this one had to be closed soon after it was made.

        A Redis that accepts connections and refuses commands (out of memory, no permission, no room for more clients)
        is tried as often as one that is down, not hundreds of times a second.
        """
        note_broker_failure(exc, is_lost=True)
        if isinstance(exc, REFUSALS):
            BROKER_REFUSALS.note(USE_QUEUES, str(exc))
        super().on_connection_error_after_connected(exc)
        seconds = self._reconnections.next_pause()
        _log.debug("the next connection is made in %g s", seconds)
        while seconds > 0 and not (state.should_stop or state.should_terminate):
            signal_alive()
            time.sleep(min(seconds, 1.0))
            seconds -= 1.0

    def on_close(self) -> None:
        """Forget the requests of a lost connection, except those that the pool runs in any case."""
        given = _given_to_the_pool(self)
        super().on_close()
        state.reserved_requests.update(given)

    def update_strategies(self) -> None:
        """Report errors of Celery's own work around a task, wherever it is done."""
        guard_requests(self.app.tasks.values())
        super().update_strategies()
        guard_tracers(self.app.tasks.values())

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        """Return Celery's handler of messages, which gets their times by this machine's clock.

        A message that it cannot read becomes a dead letter, and does not end the worker.
        `tasks.message_schema` refuses these messages earlier. This is for those that it does not know.
        """
        handle = super().create_task_handler(*args, **options)

        def on_task_received(message: Any) -> None:
            try:
                to_local_time(message.headers)
                handle(message)
            except UNREADABLE as error:
                _log.exception("[!] [workers] A message cannot be used")
                keep_message(message, f"Celery cannot use the message: {error!r}")
                if not message.acknowledged:
                    message.reject_log_error(_log, self.connection_errors)

        return on_task_received

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Keep the message as a dead letter: Celery has no signal for these."""
        keep_message(message, str(exc))
        super().on_decode_error(message, exc)

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.timer.call_repeatedly(INTERVAL_SECONDS, signal_alive)

    def perform_pending_operations(self) -> None:
        """Do what each turn of the loop does, and signal. Celery calls this where there is no hub (gevent)."""
        super().perform_pending_operations()
        signal_alive()

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, and signal while waiting: a worker that waits for Redis is alive."""
        conn.ensure_connection = _signalling(conn.ensure_connection)
        return super().ensure_connected(conn)


def _signalling(ensure: Callable[..., Any]) -> Callable[..., Any]:
    """Return `ensure` with a signal at each turn of kombu's waiting, which calls `callback` each second.

    It notes the outage that it waits for, and its end.
    """

    def ensure_connection(errback: Callable[..., Any], *args: Any, callback: Callable[[], None], **options: Any) -> Any:
        def turn() -> None:
            signal_alive()
            callback()

        def note_and_log(error: BaseException, *details: Any) -> Any:
            note_broker_failure(error, is_lost=True)
            return errback(error, *details)

        signal_alive()
        connected = ensure(note_and_log, *args, callback=turn, **options)
        note_broker_connected()
        return connected

    return ensure_connection
