"""How many messages wait in a queue of the broker."""

from typing import Any

from celery import current_app


def waiting(queue: str, channel: Any = None) -> int:
    """Those that no worker has taken yet, of any priority; 0 if the broker does not say."""
    if channel is None:
        with current_app.producer_or_acquire() as producer:
            return waiting(queue, producer.channel)
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except Exception:  # noqa: BLE001 - no such queue yet, or no broker: sending will tell
        return 0
