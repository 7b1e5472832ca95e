"""What the tasks and hooks of one process share: its settings and its connection to Redis."""

from functools import cache

from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.store import Database


@cache
def settings() -> Settings:
    """Return this process's settings, read once. Raises ConfigurationError with every problem."""
    return load_settings()


@cache
def database() -> Database:
    """Return this process's Redis. A forked child gets connections of its own from redis-py's pool."""
    return Database(settings().redis.location)


@cache
def broker() -> Database:
    """Return the Redis with Celery's messages."""
    return Database(settings().broker_location) if settings().broker_url else database()
