"""The only importer of redis. What a script returns becomes a typed result or error here, never outside."""

from vmpooler_tasks.store.redis.connection import Database, PendingReply

__all__ = ["Database", "PendingReply"]
