"""The names of the findings of `vmpooler-tasks doctor`, and what its checks share."""

from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.health.server import Finding, FindingState
from vmpooler_tasks.store import Database

REDIS = "Redis"
"""The name of the finding that all others depend on."""

KEYS = "keys"
REMOVED_POOL = "removed pool"
POOL_MANAGER = "pool manager"
USER_ORDERS = "orders"
QUEUES_OF_POOLS = "queues"
POOL_BRAKES = "brakes"
METRICS_SERVERS = "metrics"
NOTIFICATIONS = "notifications"
WORKERS, BEAT, CLOCKS = "workers", "beat", "clocks"
LAST_PURGE, HEALTH = "last purge", "health"

ADDRESS = "REDIS_URL or the :redis: section"
OK, WARN, FAIL = FindingState.OK, FindingState.WARN, FindingState.FAIL

CONFIRM = "vmpooler-tasks pools confirm POOL"
TRY_AGAIN = "vmpooler-tasks config check --online"
SHOW_HEALTH = "vmpooler-tasks health --no-check"

Findings = dict[str, Finding]
"""The findings so far, by name."""


def own_broker(settings: Settings) -> Database | None:
    """Return the Redis with Celery's messages, if it is another one."""
    return Database(settings.broker_location) if settings.broker_url else None
