"""The names of pools and requests that a user gives: resolve aliases, and refuse names that nobody knows."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import InvalidInputError, WrongTypeError
from vmpooler_tasks.jobs.deadletters.query import OnRead, find
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue, listed
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.deadletters import read
from vmpooler_tasks.store.requests.fulfilment import is_known, open_request_ids
from vmpooler_tasks.store.vmpooler import queues

MAX_LISTED = 20
"""Names that an error lists at most, if none is similar."""


class UnknownNameError(InvalidInputError):
    """The name is not known

    `option` is the name of the filter.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def known_pools(settings: Settings, db: Database | None) -> list[str]:
    """Return the configured pools and aliases and, with a database, the pools that a VMPooler has registered."""
    configured = {name for pool in settings.pools for name in (pool.name, *pool.alias)}
    return sorted(configured | (registered_pools(db) if db else set()))


def registered_pools(db: Database) -> set[str]:
    """Return the pools that a VMPooler has registered. A key of the wrong type has none: health reports it."""
    try:
        return set(queues.pool_names(db))
    except WrongTypeError:
        return set()


def pools_named(settings: Settings, name: str) -> list[str]:
    """Return the configured pools of this name: the pool itself, and those that have it as an alias."""
    return [pool.name for pool in settings.pools if name == pool.name or name in pool.alias]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?`, or the names that there are if none is similar."""
    names = list(known)
    if near := difflib.get_close_matches(name, names, n=1):
        return f"; did you mean {near[0]}?"
    return f"; there are {listed(names, MAX_LISTED) or 'none'}"


def resolve(
    db: Database, settings: Settings, wanted: DeadLetterFilter, on_read: OnRead | None = None
) -> DeadLetterFilter:
    """Return the filter with the pools of an alias in its place.

    Raises UnknownNameError for a pool or a request that neither the configuration, nor Redis, nor a dead letter knows.
    Only for a name that the first two do not know the dead letters are searched.
    """
    if wanted.request is not None:
        _refuse_unknown_request(db, wanted.request, on_read)
    if not isinstance(wanted.pool, str):
        return wanted
    named = pools_named(settings, wanted.pool)
    if not named and wanted.pool not in registered_pools(db):
        _refuse_unknown_pool(db, settings, wanted.pool, on_read)
    return replace(wanted, pool=frozenset({wanted.pool, *named}))


def _refuse_unknown_pool(db: Database, settings: Settings, pool: str, on_read: OnRead | None) -> None:
    seen = _seen_until(db, pool, "pool", on_read)
    if pool not in seen:
        known = sorted({*known_pools(settings, db), *seen})
        raise UnknownNameError("pool", f"no pool {pool!r}{suggestion(pool, known)}")


def _refuse_unknown_request(db: Database, request: str, on_read: OnRead | None) -> None:
    if is_known(db, request):
        return
    seen = _seen_until(db, request, "request_id", on_read)
    if request not in seen:
        near = difflib.get_close_matches(request, sorted({*open_request_ids(db), *seen}), n=1)
        hint = f"; did you mean {near[0]}?" if near else ": neither Redis nor a dead letter has it"
        raise UnknownNameError("request", f"no request {request!r}{hint}")


def _seen_until(db: Database, name: str, field: str, on_read: OnRead | None) -> set[str]:
    """Return the values of this field in all dead letters, read until one has this name."""
    seen = set[str]()
    for value in _values(db, field, on_read):
        seen.add(value)
        if value == name:
            break
    return seen - {""}


def _values(db: Database, field: str, on_read: OnRead | None) -> Iterator[str]:
    readable = [queue for queue in DeadLetterQueue if read.readable_size(db, queue) is not None]
    return (entry.text(field) for entry in find(db, DeadLetterFilter(queues=readable), on_read=on_read))
