"""What a worker ended of when Redis was killed: `tests/chaos` found it, once in a few dozen times."""

from typing import Any

import pytest
from kombu.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.support.servers import TestServer
from vmpooler_tasks.tasks.broker.transport import GuardedTransport


@pytest.mark.parametrize("what", ["the transport", "the channel"])
def test_what_is_closed_fails_as_what_is_lost(valkey: TestServer, what: str) -> None:
    """And not with an AttributeError, which nobody who closes connections expects (kombu's issue 582)."""
    connection: Any = Connection(valkey.url, transport=GuardedTransport)  # type: ignore[no-untyped-call]
    channel = connection.channel()
    if what == "the channel":
        channel.close()
    else:
        connection.transport.client = None  # as a connection does that was lost, and is closed
    with pytest.raises(RedisConnectionError, match="the connection was closed"), channel.conn_or_acquire():
        pytest.fail("there is no connection")
    connection.transport.client = connection
    connection.release()
    assert issubclass(RedisConnectionError, GuardedTransport.connection_errors)
