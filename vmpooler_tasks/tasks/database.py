"""This process's Redis, for the tasks and the hooks. A forked child gets its own connections from redis-py's pool."""

from functools import cache

from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.celery.configuration import settings


@cache
def database() -> Database:
    return Database(settings().redis.location)
