"""Flower's page of queue lengths reads the same Redis as everything else.

Its own clients of a socket and of Sentinels leave out the database, and that of a socket the user as well.
"""

from typing import Any

from vmpooler_tasks.config.redis_address import RedisAddress, read_address


def apply_whole_address(url: str) -> None:
    """Replace Flower's two clients by such that log in and choose the database as this address says."""
    from flower.utils import broker  # noqa: PLC0415 - Flower alone pays for Flower

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
