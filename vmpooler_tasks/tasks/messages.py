"""Count the messages that wait in a queue of the broker."""

from typing import Any

from celery import current_app


def count_waiting(queue: str, channel: Any = None) -> int:
    """Return the number of messages, of any priority, that no worker has taken; 0 if the broker does not reply."""
    if channel is None:
        with current_app.producer_or_acquire() as producer:
            return count_waiting(queue, producer.channel)
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except Exception:  # noqa: BLE001 - no such queue yet, or no broker: sending will fail then
        return 0
