"""Hands work to the workers, for those who are not Celery themselves."""

from collections.abc import Mapping
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.schema import without_login
from vmpooler_tasks.errors import StoreUnavailableError
from vmpooler_tasks.tasks import defaults
from vmpooler_tasks.tasks.configuration import PURGE


def enqueue_purge(settings: Settings, order: Mapping[str, Any]) -> str:
    """The id of the task. Raises StoreUnavailableError if the broker does not take it."""
    with Celery("vmpooler_tasks", broker=settings.broker_location, set_as_current=False) as client:
        try:
            sent = client.send_task(PURGE, kwargs=dict(order), queue=defaults.task_default_queue, retry=False)
        except OperationalError as error:
            raise StoreUnavailableError(f"{without_login(settings.broker_location)}: {error}") from error
        return str(sent.id)


def live_workers(settings: Settings, timeout: float = 1.0) -> list[str]:
    """The names of the workers that answer within `timeout` seconds. Raises StoreUnavailableError."""
    with Celery("vmpooler_tasks", broker=settings.broker_location, set_as_current=False) as client:
        try:
            answers = client.control.ping(timeout=timeout)
        except (OperationalError, OSError) as error:
            raise StoreUnavailableError(f"{without_login(settings.broker_location)}: {error}") from error
        return sorted(name for answer in answers for name in answer)
