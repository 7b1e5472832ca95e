"""kombu's Redis transport with a guard: a message that is not valid is kept as a dead letter, and the worker continues.

The stock transport drops such a message, or ends the worker, or returns it to the queue for ever (docs/reliability.md).
It also ends on a Redis that refuses writes. Here that is an interruption like any other.
"""

import functools
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kombu.transport.redis as stock
from kombu.utils.json import dumps
from redis import exceptions

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.tasks.celery.failures import keep_raw_message
from vmpooler_tasks.tasks.message_schema import broadcast_problem, message_problem

_log = logging.getLogger("vmpooler_tasks.broker")

FETCHES = ("BRPOP", "RPOP")
PAUSE_SECONDS = 1.0

# As the stock `append`, but also when Redis is out of memory: the message has left its queue already.
_APPEND = """#!lua flags=allow-oom
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
"""

# As the stock `ack`, whose transaction Redis refuses when it is out of memory.
_REMOVE = """#!lua flags=allow-oom
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
"""


class MessageGuard:
    """A client that checks each message that it fetched before it returns it."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        try:
            reply = super().parse_response(connection, command_name, **options)  # type: ignore[misc]
        except exceptions.ReadOnlyError:
            time.sleep(PAUSE_SECONDS)  # the consumer restarts at once, and would fill the log
            raise
        if command_name not in FETCHES or not reply:
            return reply
        key, raw = reply if command_name == "BRPOP" else (None, reply)
        why = message_problem(raw)
        if why is None:
            return reply
        keep_raw_message(raw, why, None if key is None else key.decode("utf-8", "replace"))
        return None  # as if the queue were empty


@functools.cache
def _guarded(client: type) -> type:
    return type(f"Guarded{client.__name__}", (MessageGuard, client), {})


class GuardedQoS(stock.QoS):
    def append(self, message: Any, delivery_tag: str) -> None:
        delivery = message.delivery_info
        entry = dumps([message._raw, delivery["exchange"], delivery["routing_key"]])  # noqa: SLF001 - as the stock one
        with self.channel.conn_or_acquire() as client:
            client.eval(_APPEND, 2, self.unacked_index_key, self.unacked_key, time.time(), delivery_tag, entry)
        super(stock.QoS, self).append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        self._remove(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            super().reject(delivery_tag, requeue=True)
        else:
            self._remove(delivery_tag)

    def _remove(self, delivery_tag: str) -> None:
        try:
            with self.channel.conn_or_acquire() as client:
                client.eval(_REMOVE, 2, self.unacked_index_key, self.unacked_key, delivery_tag)
        except exceptions.ResponseError:
            # The message will be delivered again after the visibility timeout. Until then it must not take the place of
            # another: with a prefetch of one, the worker would wait for ever.
            super(stock.QoS, self).ack(delivery_tag)
            raise
        super(stock.QoS, self).ack(delivery_tag)


class GuardedChannel(stock.Channel):
    QoS = GuardedQoS

    _kept_client: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """As the stock method, which makes a new client each time: 0.1 ms, three times for each message."""
        if client is None:
            if self._kept_client is None or self._kept_client.connection_pool is not self.pool:
                self._kept_client = self._create_client()
            client = self._kept_client
        yield client

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        # The stock method fails with an AttributeError, which ends the worker, when messages have to be restored or
        # acknowledged after the connection was lost. They are delivered again after the visibility timeout.
        if self.connection is None or self.connection.client is None:
            raise exceptions.ConnectionError("the connection was closed")
        found: dict[str, Any] = super()._connparams(asynchronous=asynchronous)
        return found

    def _receive_one(self, c: Any) -> Any:
        try:
            return super()._receive_one(c)
        except RecursionError:
            _log.warning("[!] [broker] Ignored a broadcast: it is nested too deeply")
            return None

    def _deliver_fanout_message(self, message: Any, exchange: str) -> bool:
        """Deliver a broadcast: a remote-control command, a reply, or an event. Anything else would end the process."""
        if problem := broadcast_problem(message, exchange):
            _log.warning("[!] [broker] Ignored a broadcast on %s: %s", on_one_line(exchange), on_one_line(problem))
            return False
        return bool(super()._deliver_fanout_message(message, exchange))

    def _get_client(self) -> type:
        return _guarded(super()._get_client())


class GuardedTransport(stock.Transport):
    Channel = GuardedChannel
    # Out of memory, or read-only after a failover: try again until it is over.
    connection_errors = (
        *stock.Transport.connection_errors,
        exceptions.OutOfMemoryError,
        exceptions.ReadOnlyError,
    )
