"""Celery's Redis result backend, for which a result that cannot be stored is no failure of the task."""

import logging
from typing import Any

from celery.backends.redis import RedisBackend

_log = logging.getLogger("vmpooler_tasks.results")


class Backend(RedisBackend):
    def set(self, key: Any, value: Any, expires: Any = None, **retry_policy: Any) -> None:
        """As the stock one, but says what went wrong instead of raising it.

        Raised, it would come before the dead letter is written and the message acknowledged: the letter would be
        missing, and the worker would wait for ever for room to take the next message.
        """
        try:
            super().set(key, value, expires, **retry_policy)
        except (*self.connection_errors, *self.channel_errors) as error:
            _log.error("[!] [results] Could not store %s: %s", key, error)
