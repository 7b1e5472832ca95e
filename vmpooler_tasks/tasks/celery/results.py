"""Celery's Redis result backend. A result that cannot be stored does not fail its task."""

import logging
from typing import Any

from celery.backends.redis import RedisBackend

_log = logging.getLogger("vmpooler_tasks.results")


class ResultBackend(RedisBackend):
    def set(self, key: Any, value: Any, expires: Any = None, **retry_policy: Any) -> None:
        """Store a result, and log an error instead of raising it.

        A raised error would come before the dead letter is written and the message acknowledged: the dead letter would
        be missing, and the worker would wait for ever for room to take the next message.
        """
        try:
            super().set(key, value, expires, **retry_policy)
        except (*self.connection_errors, *self.channel_errors) as error:
            _log.error("[!] [results] Could not store %s: %s", key, error)
