"""Bare Celery: the stock transport, and a task that does nothing and is acknowledged at its end, like a clone."""

import os

from celery import Celery

QUEUE = "bare"

app = Celery("bare", broker=os.environ.get("REDIS_URL", "redis://"))
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bare.nothing")  # type: ignore[untyped-decorator]  # Celery has no types
def nothing(**_: str) -> None:
    """Take the arguments of a clone, and do nothing."""
