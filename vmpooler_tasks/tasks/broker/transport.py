"""kombu's Redis transport with a guard: a message that is not valid is kept as a dead letter, and the worker continues.

The stock transport drops such a message, or ends the worker, or returns it to the queue for ever (docs/reliability.md).
It also ends on a Redis that refuses writes. Here that is an interruption like any other.

A message moves from its queue to `unacked` in one step on the server. The stock transport pops it first and notes it in
`unacked` by a later call: a host that dies in between loses it. A worker with nothing to do waits on a list of wake-ups
beside each queue, to which every publisher of this project adds. It reads the queues once a second all the same, since
other publishers add none.

The server knows who holds each message: `tasks.broker.holders` returns those whose holder is gone. Once another holder
has a message, the acknowledgement of the first one has no effect.
"""

import functools
import itertools
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty
from typing import Any

import kombu.transport.redis as stock
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps
from redis import exceptions

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.tasks.broker import scripts
from vmpooler_tasks.tasks.broker.broadcasts import REPLY_QUEUE_SUFFIX, read_broadcast, read_reply
from vmpooler_tasks.tasks.broker.channels import log_refused
from vmpooler_tasks.tasks.broker.fence import HOLDER
from vmpooler_tasks.tasks.broker.greenlets import use_patched_functions
from vmpooler_tasks.tasks.broker.holders import ALIVE_KEY, HELD_MESSAGES, HOLDERS_KEY, PAGE
from vmpooler_tasks.tasks.broker.parsing import MAX_MESSAGE_BYTES, MAX_NAME, InvalidMessageError, parse_json
from vmpooler_tasks.tasks.broker.refusals import BROKER_REFUSALS, HAND_OVER, LOG_INTERVAL, RETURN_MESSAGES, WAIT
from vmpooler_tasks.tasks.celery.failures import MAX_RAW, keep_raw_message
from vmpooler_tasks.tasks.message_schema import read_message
from vmpooler_tasks.throttle import RepeatThrottle

_log = logging.getLogger("vmpooler_tasks.broker")

_IGNORED_BROADCASTS = RepeatThrottle(LOG_INTERVAL)
"""Of this process: any client of Redis can publish thousands of broadcasts that cannot be used."""

PAUSE_SECONDS = 1.0

WAKE_SUFFIX = ".wake"
"""A list beside each queue: an element for each message that was published since the queue was last empty."""


class MessageGuard:
    """A client that checks each message that it fetched before it returns it."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        try:
            reply = super().parse_response(connection, command_name, **options)  # type: ignore[misc]
        except exceptions.ReadOnlyError:
            time.sleep(PAUSE_SECONDS)  # the consumer restarts at once, and would fill the log
            raise
        if command_name == "RPOP" and reply:
            try:
                read_message(reply)
            except InvalidMessageError as problem:
                keep_raw_message(reply, str(problem))
                return None  # as if the queue were empty
        return reply


@functools.cache
def _guarded(client: type) -> type:
    return type(f"Guarded{client.__name__}", (MessageGuard, client), {})


class GuardedQoS(stock.QoS):
    """The messages that a channel holds, as the server knows them too."""

    def append(self, message: Any, delivery_tag: str) -> None:
        if delivery_tag in self.channel.taken:
            self.channel.taken.discard(delivery_tag)  # the server has noted it already
        else:
            delivery = message.delivery_info
            entry = dumps([message._raw, delivery["exchange"], delivery["routing_key"]])  # noqa: SLF001 - as the stock one
            self.channel.run(scripts.NOTE, [], [delivery_tag, entry, self.channel.holder])
        super(stock.QoS, self).append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        self._remove(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            super().reject(delivery_tag, requeue=True)
        else:
            self._remove(delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Return a message to its queue, if this channel still holds it."""
        del client
        self.channel.return_message(tag, self.channel.holder, is_last=leftmost)

    def restore_unacked(self, client: Any = None) -> None:
        """Return what this channel holds, when it is closed. A task that runs keeps its message.

        The loss of a connection ends no task: its message is removed over the next connection, when the task has ended.
        """
        del client
        running = HELD_MESSAGES.running_tags()
        for tag in self._delivered:
            if tag not in running:
                try:
                    self.restore_by_tag(tag)
                except exceptions.ResponseError as error:  # a later sweep returns it; the others go back now
                    BROKER_REFUSALS.note(RETURN_MESSAGES, str(error))
        self._delivered.clear()

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Do nothing: `tasks.broker.holders` does it, with its own timer."""
        del start, num, interval

    def _remove(self, delivery_tag: str) -> None:
        try:
            if not self.channel.remove_note(delivery_tag):
                _log.warning("[!] [broker] Another worker has taken over the message %s", on_one_line(delivery_tag))
        except (*GuardedTransport.connection_errors, exceptions.ResponseError):
            # The next sweep removes it. Until then it must not take the place of another message: with a prefetch of
            # one, the worker would wait for ever.
            HELD_MESSAGES.note_finished(delivery_tag, self.channel.holder)
            super(stock.QoS, self).ack(delivery_tag)
            raise
        super(stock.QoS, self).ack(delivery_tag)


class GuardedChannel(stock.Channel):
    QoS = GuardedQoS

    _kept_client: Any = None
    _in_poll: Any
    _brpop_sent_at: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        self.taken: set[str] = set()
        """Tags of messages that the server has noted in `unacked`, until they are delivered."""

        self.holder = uuid.uuid4().hex
        """The name under which the server knows what this channel holds."""

        self._lists: list[str] = []
        self._is_waiting = False
        super().__init__(*args, **options)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Send the command that takes the next message. After it found none, send the one that waits for a wake-up."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        wake_ups = [queue + WAKE_SUFFIX for queue in queues]
        if self._is_waiting:
            command = ["BRPOP", *wake_ups, timeout or self.brpop_timeout]
        else:
            # The queues take turns, so that urgent messages of one do not stop another. The stock transport lets them.
            self._lists = [self._q_for_pri(queue, priority) for queue in queues for priority in self.priority_steps]
            keys = [*self._note_keys, ALIVE_KEY, *self._lists, *wake_ups]
            limits = MAX_MESSAGE_BYTES, MAX_NAME, MAX_RAW
            command = ["EVAL", scripts.TAKE, len(keys), *keys, len(self._lists), self.holder, *limits]
            HELD_MESSAGES.add(self)
        if self.global_keyprefix:
            command = self.client._prefix_args(command)  # noqa: SLF001 - as the stock method
        self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        self.client.connection.send_command(*command)

    def _brpop_read(self, **options: Any) -> bool:
        """Deliver the message that was taken. Raise Empty if there was none, or for a wake-up."""
        try:
            was_waiting, self._is_waiting = self._is_waiting, False
            reply = self._read_reply("BRPOP" if was_waiting else "EVAL", **options)
            if was_waiting or reply is None:
                raise Empty
            place, raw, problem, tag, size = reply
            BROKER_REFUSALS.note(HAND_OVER, problem.decode(errors="replace"))
            if place < 0:
                self._is_waiting = True
                raise Empty
            queue = self._lists[place].rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            return self._deliver_taken(raw, size, tag.decode(), queue)
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _read_reply(self, command: str, **options: Any) -> Any:
        """Return the reply. Return None after a refusal, and wait a moment: the next command may be refused as well."""
        what = WAIT if command == "BRPOP" else HAND_OVER
        try:
            reply = self.client.parse_response(self.client.connection, command, **options)
        except self.connection_errors:
            self.client.connection.disconnect()  # the next turn of the loop connects again
            raise
        except exceptions.ResponseError as error:
            BROKER_REFUSALS.note(what, f"{', '.join(self._named_keys(what))}: {error}")
            time.sleep(PAUSE_SECONDS)
            return None
        if what == WAIT:
            BROKER_REFUSALS.note(WAIT, "")
        return reply

    def _named_keys(self, what: str) -> list[str]:
        """Return the keys that a refusal may be about, without those of higher priorities."""
        queues = sorted(self.active_queues)
        if what == WAIT:
            return [queue + WAKE_SUFFIX for queue in queues]
        return [self.unacked_key, self.unacked_index_key, *queues]

    def _deliver_taken(self, raw: bytes, size: int, tag: str, queue: str) -> bool:
        """Deliver a message, or keep it as a dead letter and raise Empty if it is not valid.

        If it cannot be kept, it stays in `unacked`. It is returned after this channel is closed, and tried again.
        """
        if queue.endswith(REPLY_QUEUE_SUFFIX):
            return self._deliver_reply(raw, tag, queue)
        try:
            message = read_message(raw, size)
        except InvalidMessageError as problem:
            if keep_raw_message(raw, str(problem), queue, size):
                self.remove_note(tag)
            raise Empty from None
        return self._deliver_checked(message, tag, queue)

    def _deliver_reply(self, raw: bytes, tag: str, queue: str) -> bool:
        """Deliver a reply to a command of remote control. Drop one that is not valid: it is no work."""
        try:
            message = read_reply(raw)
        except InvalidMessageError as problem:
            _log.warning("[!] [broker] Ignored a reply of remote control: %s", on_one_line(str(problem)))
            self.remove_note(tag)
            raise Empty from None
        return self._deliver_checked(message, tag, queue)

    def _deliver_checked(self, message: dict[str, Any], tag: str, queue: str) -> bool:
        message["properties"]["delivery_tag"] = tag
        self.taken.add(tag)
        message["properties"][HOLDER] = self.holder
        self.connection._deliver(message, queue)  # noqa: SLF001 - as the stock method
        if tag in self.taken:  # its consumer acknowledges nothing
            self.taken.discard(tag)
            self.remove_note(tag)
        return True

    @property
    def _note_keys(self) -> list[str]:
        return [self.unacked_index_key, self.unacked_key, HOLDERS_KEY]

    def run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script of `tasks.broker.scripts` on index, unacked, holders and these keys."""
        names = [*self._note_keys, *keys]
        with self.conn_or_acquire() as client:
            return client.eval(script, len(names), *names, *args)

    def remove_note(self, tag: str, holder: str | None = None) -> bool:
        """Remove a message from `unacked`. Return False if another holder has it now."""
        return bool(self.run(scripts.REMOVE, [], [tag, holder or self.holder]))

    def reaffirm(self, running: frozenset[str]) -> None:
        """Record again what this channel holds, and that what does not run yet is not overdue."""
        tags = set(self.qos._delivered) - self.qos._dirty  # noqa: SLF001 - what is not acknowledged
        ordered = [*sorted(tags - running), *sorted(tags & running)]
        for start in range(0, len(ordered), PAGE):
            page = ordered[start : start + PAGE]
            self.run(scripts.REAFFIRM, [], [self.holder, sum(tag not in running for tag in page), *page])

    def return_message(self, tag: str, holder: str, *, is_last: bool = False) -> bool:
        """Return a message to its queue if this holder still has it ('': whoever has it). Return False otherwise."""
        with self.conn_or_acquire() as client:
            entry = client.hget(self.unacked_key, tag)
        if entry is None:
            self.remove_note(tag, holder)
            return False
        try:
            message, exchange, routing_key = parse_json(entry)
            message["headers"]["redelivered"] = True
            message["properties"]["delivery_info"]["redelivered"] = True
            priority = self._get_message_priority(message, reverse=False)
            # Without a binding, the routing key is the name of the queue, as for all queues of this project.
            queues = self._lookup(exchange, routing_key, default=routing_key)
            lists = [self._q_for_pri(queue, priority) for queue in queues]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            if keep_raw_message(entry, f"{tag} in {self.unacked_key} is not a message: {error}"):
                self.remove_note(tag, holder)
            return False
        keys = [key for name in lists for key in (name, name.rsplit(self.sep, 1)[0] + WAKE_SUFFIX)]
        return bool(self.run(scripts.RETURN, keys, [tag, holder, entry, dumps(message), int(is_last)]))

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        """Publish a message, and wake a worker that waits for one."""
        batch = options.get("_publish_batch")
        key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))
        command = (scripts.PUT, 2, key, queue + WAKE_SUFFIX, dumps(message))
        if batch is not None:
            batch.add("eval", *command)
            return
        with self.conn_or_acquire() as client:
            client.eval(*command)

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
        # acknowledged after the connection was lost. A later sweep returns or removes them.
        if self.connection is None or self.connection.client is None:
            raise exceptions.ConnectionError("the connection was closed")
        found: dict[str, Any] = super()._connparams(asynchronous=asynchronous)
        return found

    def _receive_one(self, c: Any) -> Any:
        try:
            return super()._receive_one(c)
        except exceptions.NoPermissionError:  # the reply to a subscription: this channel then receives nothing
            topics = map(self._get_subscribe_topics, self.active_fanout_queues)
            log_refused("subscribe to", itertools.chain.from_iterable(topics))
            return None

    def _put_fanout(self, exchange: str, message: Any, routing_key: str, **options: Any) -> None:
        """Publish a broadcast. One that the user may not publish is dropped: an event must not stop a worker."""
        try:
            super()._put_fanout(exchange, message, routing_key, **options)
        except exceptions.NoPermissionError:
            log_refused("publish to", self._get_publish_topics(exchange, routing_key))

    def _handle_message(self, client: Any, r: Any) -> dict[str, Any]:
        """Return what was published, as the stock method; no data if whoever listens cannot use it."""
        published: dict[str, Any] = super()._handle_message(client, r)
        data, exchange = published["data"], _exchange_of(bytes_to_str(published["channel"]))
        if bytes_to_str(published["type"]).endswith("message") and data:
            try:
                read_broadcast(data, exchange)
            except InvalidMessageError as problem:
                about = on_one_line(exchange), on_one_line(str(problem))
                if _IGNORED_BROADCASTS.acquire(" ".join(about)):
                    _log.warning("[!] [broker] Ignored a broadcast on %s: %s", *about)
                published["data"] = b""
        return published

    def _get_client(self) -> type:
        return _guarded(super()._get_client())


def _exchange_of(channel: str) -> str:
    """Return the exchange of a channel such as `/0.celery.pidbox` or `/0.celeryev/worker.heartbeat`."""
    return (channel.partition(".")[2] if channel.startswith("/") else channel).partition("/")[0]


class GuardedTransport(stock.Transport):
    Channel = GuardedChannel
    # Out of memory, or read-only after a failover: try again until it is over.
    connection_errors = (
        *stock.Transport.connection_errors,
        exceptions.OutOfMemoryError,
        exceptions.ReadOnlyError,
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        use_patched_functions()
        super().__init__(*args, **options)
