"""How each pool stands: for `vmpooler-tasks pools`."""

from dataclasses import asdict, dataclass
from typing import Any

from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.pools.inspect import effective_size
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.deadletters import read as dead_letters
from vmpooler_tasks.store.pools import breakers, clones, overrides
from vmpooler_tasks.store.vmpooler import queues

RECENT_SECONDS = 3600.0
"""For so long a failure counts as recent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """One pool; `cloning` of its pending VMs are being made now, `failures` are its dead letters of the last hour.

    `provider_closed_until`: its provider is left alone until that epoch, after failures; so is the pool itself until
    `pool_closed_until`, after clones that failed for good.
    """

    pool: str
    size: int
    ready: int
    pending: int
    cloning: int
    running: int
    completed: int
    failures: int
    last_failure: str
    provider: str
    provider_closed_until: float | None
    pool_closed_until: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def overview(db: Database, settings: Settings, now: float) -> list[PoolRow]:
    """Every configured pool, or, without any, every one that a VMPooler has registered."""
    names = [pool.name for pool in settings.pools] or queues.pool_names(db)
    sizes, in_flight = overrides.sizes(db, names), clones.in_flight(db)
    closed = {one.name: one.open_until for one in breakers.open_ones(db, settings.providers)}
    closed_pools = {one.name: one.open_until for one in breakers.open_pools(db, names)}
    failures = _recent_failures(db, now)
    return [
        _row(db, settings, name, sizes[name], in_flight, closed, closed_pools, failures.get(name, [])) for name in names
    ]


def _row(
    db: Database,
    settings: Settings,
    name: str,
    sizes: dict[Queue, int],
    in_flight: set[bytes],
    closed: dict[str, float],
    closed_pools: dict[str, float],
    failures: list[str],
) -> PoolRow:
    pool = settings.pool(name)
    provider = settings.provider_of(pool) if pool else ""
    return PoolRow(
        pool=name,
        size=effective_size(pool, overrides.orders(db, name).size) if pool else overrides.registered_size(db, name),
        ready=sizes[Queue.READY],
        pending=sizes[Queue.PENDING],
        cloning=sum(queues.are_in(db, Queue.PENDING, name, sorted(in_flight))) if sizes[Queue.PENDING] else 0,
        running=sizes[Queue.RUNNING],
        completed=sizes[Queue.COMPLETED],
        failures=len(failures),
        last_failure=failures[0] if failures else "",
        provider=provider,
        provider_closed_until=closed.get(provider),
        pool_closed_until=closed_pools.get(name),
    )


def _recent_failures(db: Database, now: float) -> dict[str, list[str]]:
    """Pool → the messages of its VMs' dead letters of the last hour, newest first."""
    readable = [queue for queue in DeadLetterQueue if dead_letters.readable_size(db, queue) is not None]
    wanted, found = DeadLetterFilter(since=now - RECENT_SECONDS), dict[str, list[str]]()
    for letter in dead_letters.newest_first(db, readable):
        if not wanted.accepts(letter):
            break
        found.setdefault(letter.text("pool"), []).append(letter.text("error_message"))
    return found
