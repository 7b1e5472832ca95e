"""The hand-over in one step costs no more round trips than kombu's own under load, and one more when idle."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from kombu.entity import Queue as KombuQueue
from kombu.messaging import Consumer as KombuConsumer
from kombu.transport.redis import Transport as StockTransport

from tests.integration.celery.conftest import Connection, unacked
from tests.support.counting_proxy import counting
from tests.support.messages import QUEUE, message, send
from tests.support.processes import PATIENCE
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.broker.fence import is_held
from vmpooler_tasks.tasks.broker.transport import GuardedTransport
from vmpooler_tasks.tasks.registry import HEALTH_CHECK

Consumer: Any = KombuConsumer  # kombu has no types
Queue: Any = KombuQueue

MESSAGES = 20
FENCE = 1
"""Round trips of a task before its effect: it checks that its message is still held."""


def read_all(line: Any, expected: int, channel: Any) -> None:
    """Take and acknowledge so many messages, and then wait for one second in vain."""
    got: list[Any] = []

    def receive(one: Any) -> None:
        got.append(one)
        one.ack()

    with Consumer(channel, [Queue(QUEUE, routing_key=QUEUE)], on_message=receive, accept=["json"]):
        while len(got) < expected:
            line.drain_events(timeout=PATIENCE)
        with suppress(TimeoutError):
            line.drain_events(timeout=1)


def round_trips(server: TestServer, db: Database, transport: Any) -> Callable[[int], int]:
    """Return a function that counts the round trips of a reader of so many messages and an idle second."""

    def count(messages: int) -> int:
        for _ in range(messages):
            send(db, message(HEALTH_CHECK))
        with counting(server.port) as proxy:
            url = f"redis://127.0.0.1:{proxy.port}/0"
            with Connection(url, transport=transport) as line, line.channel() as channel:
                read_all(line, messages, channel)
                return proxy.round_trips

    return count


@pytest.mark.both_servers
def test_round_trips_are_those_of_kombu_and_one_more_when_idle(db: Database, server: TestServer) -> None:
    stock, ours = (round_trips(server, db, transport) for transport in (StockTransport, GuardedTransport))
    idle_stock, idle_ours = (min(count(0) for _ in range(2)) for count in (stock, ours))  # a slow machine adds some
    assert idle_ours <= idle_stock + 1
    of_stock = round((stock(MESSAGES) - idle_stock) / MESSAGES)
    of_ours = round((ours(MESSAGES) - idle_ours) / MESSAGES)
    assert of_ours + FENCE <= of_stock, "take, fence and acknowledge; kombu: take, note and acknowledge"
    assert unacked(db) == (0, 0)
    assert is_held(db, {}), "the fence is one command"
