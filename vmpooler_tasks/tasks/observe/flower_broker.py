"""Flower's page of queue lengths reads the same Redis as everything else.

Its own clients of a socket and of Sentinels leave out the database, and that of a socket the user as well.
"""

import importlib
from typing import Any

from vmpooler_tasks.config.redis_address import RedisAddress, read_address


def apply_whole_address(url: str) -> None:
    """Replace Flower's two clients by clients that use the login and the database of this address."""
    broker = importlib.import_module("flower.utils.broker")  # in a Flower process only: it is slow to import
    address = read_address(url)
    for name in ("RedisSocket", "RedisSentinel"):
        setattr(broker, name, _whole(getattr(broker, name), address))


def _whole(stock: Any, address: RedisAddress) -> type:
    place = {} if address.path is None else {"path": address.path}

    class WholeAddress(stock):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.redis.connection_pool.connection_kwargs.update(address.login, **place)

    return WholeAddress
