"""The only importer of redis. What a script answers becomes a typed result or error here, never outside."""

from vmpooler_tasks.store.connection import Database

__all__ = ["Database"]
