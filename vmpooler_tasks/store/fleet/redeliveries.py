"""Count how often a task was redelivered. Its message does not contain this number."""

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

REMEMBERED_SECONDS = 7 * 24 * 3600


def count(db: Database, task_id: str) -> int:
    """Count one more delivery of this task, and return how many there were after the first."""
    with db.translated_errors(keys.DELIVERIES):
        pipe = db.client.pipeline(transaction=True)
        pipe.hincrby(keys.DELIVERIES, task_id, 1)
        pipe.expire(keys.DELIVERIES, REMEMBERED_SECONDS)
        return int(pipe.execute()[0])
