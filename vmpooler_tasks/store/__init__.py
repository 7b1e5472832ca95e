"""The only importer of redis. What a script answers becomes a typed result or error here, never outside."""

from vmpooler_tasks.store.redis.connection import Answer, Database

__all__ = ["Answer", "Database"]
