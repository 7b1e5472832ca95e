"""A connection of kombu's to a real Redis, and channels that take messages as a worker's do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty
from typing import Any

import pytest
from kombu.connection import Connection as KombuConnection

from tests.support.messages import QUEUE
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.broker.refusals import BROKER_REFUSALS
from vmpooler_tasks.tasks.broker.transport import GuardedTransport

Connection: Any = KombuConnection  # kombu has no types


class Clock:
    """The monotonic clock of the processes that sweep."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def nothing_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what Redis refused to earlier tests."""
    monkeypatch.setattr(BROKER_REFUSALS, "_lasting", {})


@pytest.fixture
def connection(db: Database, server: TestServer) -> Iterator[Any]:
    del db  # emptied first
    with Connection(server.url, transport=GuardedTransport) as own:
        yield own


@pytest.fixture
def channel(connection: Any) -> Iterator[Any]:
    with open_channel(connection) as own:
        yield own


@contextmanager
def open_channel(connection: Any) -> Iterator[Any]:
    own = connection.channel()
    line = own.client.connection = own.client.connection_pool.get_connection()  # as the loop does before it reads
    yield own
    line.disconnect()


def consumed(channel: Any, *, no_ack: bool = False, queues: Sequence[str] = (QUEUE,)) -> list[Any]:
    """The messages that a consumer on this channel gets, as they come."""
    got: list[Any] = []
    for queue in queues:
        channel.basic_consume(queue, no_ack, got.append, f"consumer of {queue}")
    return got


def read(channel: Any) -> None:
    """One turn of the loop that reads a channel."""
    channel._brpop_start()
    try:
        channel._brpop_read()
    except Empty:
        return


def unacked(db: Database) -> tuple[int, int]:
    return db.call("HLEN", "unacked"), db.call("ZCARD", "unacked_index")
