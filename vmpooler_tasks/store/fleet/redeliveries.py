"""How often a task was delivered again: its message does not carry that number."""

from vmpooler_tasks.store import fleet_keys
from vmpooler_tasks.store.redis.connection import Database

KEPT_SECONDS = 7 * 24 * 3600


def count_delivery(db: Database, task_id: str) -> int:
    """Count one more delivery of this task; return the number of redeliveries so far."""
    return int(db.run("fleet/count_delivery", [fleet_keys.DELIVERIES], [task_id, KEPT_SECONDS]))
