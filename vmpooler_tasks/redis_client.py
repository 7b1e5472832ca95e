"""Create redis-py's client for an address: Redis by TCP, TLS or socket, or the master behind Sentinels."""

from typing import Any, cast

import redis
from redis.sentinel import Sentinel

from vmpooler_tasks.config.redis_address import read_address


def client_for(url: str, **options: Any) -> Any:
    """Return a client, without opening a connection. `options` are redis-py's. Raise ValueError for a wrong address."""
    address = read_address(url)
    if address.master is None:
        return redis.Redis(**address.server, **address.login, **address.security, **options)
    bounds = {name: value for name, value in options.items() if name.startswith("socket_")}
    # Any: redis-py leaves these untyped.
    sentinels: Any = cast("Any", Sentinel)(
        address.hosts,
        sentinel_kwargs={**address.sentinel_login, **address.security, **bounds},
        **address.login,
        **address.security,
        **options,
    )
    return sentinels.master_for(address.master)
