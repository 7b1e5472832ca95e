"""Creates on-demand requests for users without the API server. See docs/vmpooler-behaviour.md."""

import uuid
from collections.abc import Sequence

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.requests.fulfil import refusal
from vmpooler_tasks.model.requests import Wanted
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.requests import fulfilment


def create(db: Database, settings: Settings, requested: Sequence[tuple[str, int]], now: float) -> str:
    """Create a request for (pool or alias, count)…, and return its id. Raise InvalidInputError if it is refused."""
    wanted = [Wanted(name, pool_for(settings, name), count) for name, count in requested]
    if why := refusal(settings, wanted):
        raise InvalidInputError(why)
    request_id = str(uuid.uuid4())
    fulfilment.create(db, request_id, wanted, now)
    return request_id


def pool_for(settings: Settings, name: str) -> str:
    """Return the pool of this name, or the first pool with this alias. Raise InvalidInputError if there is none."""
    if settings.pool(name):
        return name
    found = [pool.name for pool in settings.pools if name in pool.alias]
    if not found:
        known = sorted({name for pool in settings.pools for name in (pool.name, *pool.alias)})
        raise InvalidInputError(f"there is no pool {name!r}; there are {', '.join(known) or 'none'}")
    return found[0]


def is_closed(db: Database, request_id: str) -> bool:
    """Return True if there is nothing to wait for: the request has a status, or is gone."""
    record = fulfilment.read_record(db, request_id.encode())
    return bool(record.fields.get("status")) or not record.fields
