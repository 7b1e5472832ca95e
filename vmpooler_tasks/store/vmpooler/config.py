"""The published configuration, `vmpooler__config`."""

from collections.abc import Mapping

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


def is_published(db: Database) -> bool:
    """Return True if `vmpooler__config` exists."""
    return bool(db.call("EXISTS", keys.CONFIG))


def publish_config(db: Database, effective: Mapping[str, str]) -> None:
    """Replace `vmpooler__config` with these values."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=True)
        pipe.delete(keys.CONFIG)
        pipe.hset(keys.CONFIG.decode(), mapping=dict(effective))
        pipe.execute()
