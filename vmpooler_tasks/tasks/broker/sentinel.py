"""The guarded transport and our result backend for a Redis that Sentinels name."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import kombu.transport.redis as stock
from celery.backends.redis import SentinelBackend

from vmpooler_tasks.redis_client import MasterConnection, SecureMasterConnection, Sentinels
from vmpooler_tasks.tasks.broker import transport
from vmpooler_tasks.tasks.celery import results


class SentinelChannel(transport.GuardedChannel, stock.SentinelChannel):
    connection_class = MasterConnection
    connection_class_ssl: Any = SecureMasterConnection
    master_name: str
    sentinel_kwargs: Mapping[str, Any]

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:
        """Return the pool of connections to the master, as the stock method does, whose errors name no reason."""
        options = self._connparams(asynchronous)
        server = {name: options.pop(name) for name in ("host", "port")}
        places = [urlsplit(url) for url in self.connection.client.alt]
        hosts = [(place.hostname, place.port or self.connection.default_port) for place in places]
        sentinels = Sentinels(hosts or [tuple(server.values())], sentinel_kwargs=self.sentinel_kwargs, **options)
        # The stock channel closes its connections to the Sentinels with these.
        if asynchronous:
            self._async_sentinel_manager = sentinels
        else:
            self._sentinel_manager = sentinels
        return sentinels.master_for(self.master_name).connection_pool


class SentinelTransport(transport.GuardedTransport, stock.SentinelTransport):
    Channel = SentinelChannel
    default_port = stock.SentinelTransport.default_port


class SentinelResultBackend(results.ResultBackend, SentinelBackend):
    def _get_sentinel_instance(self, **params: Any) -> Sentinels:
        hosts = [(host["host"], host["port"]) for host in params.pop("hosts")]
        return Sentinels(hosts, sentinel_kwargs=self._transport_options.get("sentinel_kwargs"), **params)
