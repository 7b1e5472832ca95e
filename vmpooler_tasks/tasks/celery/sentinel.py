"""The guarded transport, and the results that fail no task, where Sentinels name the Redis."""

import kombu.transport.redis as stock
from celery.backends.redis import SentinelBackend

from vmpooler_tasks.tasks.celery import results, transport


class Channel(transport.Channel, stock.SentinelChannel):
    pass


class Transport(transport.Transport, stock.SentinelTransport):
    Channel = Channel
    default_port = stock.SentinelTransport.default_port


class Backend(results.Backend, SentinelBackend):
    pass
