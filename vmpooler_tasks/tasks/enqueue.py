"""Send work to the workers, from the command line and the web process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.redis_address import without_login
from vmpooler_tasks.store.redis.connection import translated_cause
from vmpooler_tasks.tasks.celery import defaults
from vmpooler_tasks.tasks.celery.addresses import broker_settings
from vmpooler_tasks.tasks.celery.configuration import install_transports
from vmpooler_tasks.tasks.redrive import RedriveBroker
from vmpooler_tasks.tasks.registry import PURGE, REDRIVE, queue_of


def enqueue_purge(settings: Settings, order: Mapping[str, Any]) -> str:
    """Send the task and return its id. Raise StoreUnavailableError if the broker does not accept it."""
    with _client(settings) as client:
        return str(client.send_task(PURGE, kwargs=dict(order), queue=defaults.task_default_queue, retry=False).id)


def enqueue_task(settings: Settings, task: str, arguments: Mapping[str, Any]) -> str:
    """Send a task of ours and return its id. Raise StoreUnavailableError if the broker does not accept it."""
    with _client(settings) as client:
        return str(client.send_task(task, kwargs=dict(arguments), queue=queue_of(task), retry=False).id)


def enqueue_redrive(settings: Settings, run: str) -> str:
    """Send the task and return its id. Raise StoreUnavailableError if the broker does not accept it."""
    with _client(settings) as client:
        return str(client.send_task(REDRIVE, args=[run], queue=defaults.task_default_queue, retry=False).id)


@contextmanager
def redrive_broker(settings: Settings) -> Iterator[RedriveBroker]:
    """Yield the broker that takes the messages of a run of redrives.

    Raise StoreUnavailableError if the broker does not accept a message.
    """
    with _client(settings) as client:
        yield RedriveBroker(client, settings)


def live_workers(settings: Settings, timeout: float = 1.0) -> list[str]:
    """Return the names of the workers that reply within `timeout` seconds. Raise StoreUnavailableError."""
    with _client(settings) as client:
        return sorted(name for answer in client.control.ping(timeout=timeout) for name in answer)


@contextmanager
def _client(settings: Settings) -> Iterator[Celery]:
    """Yield a Celery client that connects only once, so that a command fails at once if the broker is down."""
    install_transports()
    with Celery("vmpooler_tasks", set_as_current=False) as client:
        client.conf.update(broker_settings(settings.broker_location))
        client.conf.broker_transport_options["max_retries"] = 1
        line = client.connection_for_write()
        try:
            yield client
        except (OperationalError, *line.connection_errors, *line.channel_errors) as error:
            raise translated_cause(error, without_login(settings.broker_location)) from error
