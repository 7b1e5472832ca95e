"""The guarded transport and our result backend for a Redis that Sentinels name."""

import kombu.transport.redis as stock
from celery.backends.redis import SentinelBackend

from vmpooler_tasks.tasks.broker import transport
from vmpooler_tasks.tasks.celery import results


class SentinelChannel(transport.GuardedChannel, stock.SentinelChannel):
    pass


class SentinelTransport(transport.GuardedTransport, stock.SentinelTransport):
    Channel = SentinelChannel
    default_port = stock.SentinelTransport.default_port


class SentinelResultBackend(results.ResultBackend, SentinelBackend):
    pass
