"""The state of each pool, for `vmpooler-tasks pools` and the dashboard."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vmpooler_tasks.config import Settings
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.deadletters import recent_failures
from vmpooler_tasks.store.deadletters.recent_failures import PoolFailures
from vmpooler_tasks.store.health import snapshot
from vmpooler_tasks.store.health.snapshot import Snapshot
from vmpooler_tasks.store.pools import clones as clones_in_flight

RECENT_SECONDS = 3600.0
"""A failure counts as recent for this long."""

NO_FAILURES = PoolFailures(0, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """One pool. `cloning` counts the pending VMs that are being cloned, `failures` its dead letters of the last hour.

    `provider_closed_until`: epoch until which the circuit breaker suspends its provider, after failures.
    `pool_closed_until`: the same for the pool itself, after clones that failed permanently. In the past: until a clone
    succeeds.
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


def overview(
    db: Database, settings: Settings, now: float, *, queues: Sequence[str] = (), broker: Database | None = None
) -> tuple[Snapshot, list[PoolRow]]:
    """Read the state of every configured pool, or, where none is configured, of every pool that VMPooler registered.

    Return the rows and the snapshot that they were made from; `queues` and `broker` are as in `snapshot.read`. The
    number of round trips is constant.
    """
    found = snapshot.read(
        db,
        pools=[pool.name for pool in settings.pools],
        providers=list(settings.providers),
        queues=queues,
        broker=broker,
        is_observing=settings.config.observe_only,
    )
    clones = clones_in_flight.count_by_pool(db)
    failures = recent_failures.count_by_pool(db, since=now - RECENT_SECONDS, now=now)
    rows = [_row(settings, found, name, clones.get(name, 0), failures.get(name, NO_FAILURES)) for name in found.pools]
    return found, rows


def _row(settings: Settings, found: Snapshot, name: str, clones: int, failures: PoolFailures) -> PoolRow:
    pool, state = settings.pool(name), found.pools[name]
    provider = settings.provider_of(pool) if pool else ""
    return PoolRow(
        pool=name,
        size=state.size(pool.size if pool else None),
        ready=state.vms.get(Queue.READY, 0),
        pending=state.vms.get(Queue.PENDING, 0),
        cloning=clones,
        running=state.vms.get(Queue.RUNNING, 0),
        completed=state.vms.get(Queue.COMPLETED, 0),
        failures=failures.count,
        last_failure=failures.last_message,
        provider=provider,
        provider_closed_until=found.suspended_until.get(provider),
        pool_closed_until=state.suspended_until,
    )
