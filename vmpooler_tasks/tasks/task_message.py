"""Build the message of a task exactly as Celery and kombu would store it in Redis, without sending it."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import kombu.transport.redis as stock
from celery import Celery
from kombu.connection import Connection
from kombu.messaging import Producer
from kombu.transport import virtual
from kombu.utils.json import dumps


class RecordingChannel(virtual.Channel):
    """A channel that records each message as (Redis list of its queue, bytes), as kombu's Redis channel would store it.

    It has no connection to a server.
    """

    from_transport_options: Any = (*virtual.Channel.from_transport_options, "sep", "priority_steps")
    sep = stock.Channel.sep
    priority_steps = stock.Channel.priority_steps
    priority = stock.Channel.priority
    _q_for_pri: Any = stock.Channel._q_for_pri  # noqa: SLF001 - the list of a queue depends on the priority

    def __init__(self, connection: Any, **options: Any) -> None:
        super().__init__(connection, **options)
        self.recorded: list[tuple[str, bytes]] = []

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))
        self.recorded.append((key, dumps(message).encode()))


class RecordingTransport(virtual.Transport):
    Channel = RecordingChannel


def build_message(app: Celery, send: Callable[[Producer], object]) -> tuple[str, bytes]:
    """Return (Redis list, bytes) of the message that `send` publishes through the producer that it gets."""
    line = Connection(transport=RecordingTransport, transport_options=app.conf.broker_transport_options)
    with line, closing(line.channel()) as channel, app.amqp.Producer(channel, auto_declare=False) as producer:
        send(producer)
        [message] = channel.recorded
    key, body = message
    return key, body
