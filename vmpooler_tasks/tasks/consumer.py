"""Celery's consumer, which also keeps what it cannot decode, and says that it lives."""

from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from vmpooler_tasks.tasks.failures import keep_raw_message
from vmpooler_tasks.tasks.presence import Presence


class Consumer(CeleryConsumer):
    class Blueprint(CeleryConsumer.Blueprint):
        default_steps = (*CeleryConsumer.Blueprint.default_steps, Presence)

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Celery tells nobody of these: there is no signal."""
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode("utf-8", "replace")
        keep_raw_message(body, str(exc), (message.delivery_info or {}).get("routing_key"))
        super().on_decode_error(message, exc)
