"""The record of the watch for another pool manager, as a test wants it."""

import time
from typing import Any

from vmpooler_tasks.store import keys


def see_other_manager(client: Any, sightings: int = 2, evidence: str = "vmpooler__tasks__clone") -> None:
    """Record that another manager was seen just now. No check of the workers has to run for this."""
    now = time.time()
    fields = {"state": "other", "sightings": sightings, "evidence": evidence, "seen_at": now}
    client.hset(keys.MANAGER_WATCH, mapping={**fields, "until": now + 120, "valid_until": now + 3600})


def forget_watch(client: Any) -> None:
    """Forget all sightings, as a new installation."""
    client.delete(keys.MANAGER_WATCH, keys.FOREIGN_CLONES)
