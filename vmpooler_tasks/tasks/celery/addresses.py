"""An address of Redis in Celery's words: for its broker, and for its results."""

from typing import Any

from vmpooler_tasks.config.redis_address import RedisAddress, read_address
from vmpooler_tasks.redis_client import HiddenLogin
from vmpooler_tasks.tasks.celery import defaults


def broker_settings(url: str) -> dict[str, Any]:
    """Where the messages go. Its transport options are the defaults, with what Sentinel needs."""
    options = dict(defaults.broker_transport_options)
    address = read_address(url)
    return {
        "broker_url": ";".join(address.urls),
        "broker_use_ssl": dict(address.tls) or None,
        "broker_transport_options": {**options, **_sentinels(address)},
    }


def result_settings(url: str) -> dict[str, Any]:
    """Where results are kept."""
    address = read_address(url)
    return {
        "result_backend": ";".join(address.urls),
        "redis_backend_use_ssl": dict(address.tls) or None,
        "result_backend_transport_options": _sentinels(address),
    }


def _sentinels(address: RedisAddress) -> dict[str, Any]:
    """Return how redis-py connects to the Sentinels: their login, our bounds of time, TLS where Redis has it.

    `inspect stats` and Flower show these options, but not what the login is.
    """
    if address.master is None:
        return {}
    login = {"credential_provider": HiddenLogin(**address.sentinel_login)} if address.sentinel_login else {}
    bounds = {name: defaults.broker_transport_options[name] for name in ("socket_timeout", "socket_connect_timeout")}
    return {
        "master_name": address.master,
        "sentinel_kwargs": {**login, **address.security, **bounds},
    }
