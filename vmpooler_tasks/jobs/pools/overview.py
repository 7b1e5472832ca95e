"""The state of each pool, and everything about one pool, for `vmpooler-tasks pools` and the dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.model.fleet import Fleet
from vmpooler_tasks.model.guards.removed import RemovedPoolState
from vmpooler_tasks.model.manager_watch import ManagerWatch
from vmpooler_tasks.model.names import WORK_QUEUES, Queue
from vmpooler_tasks.model.pools.lifecycle import MINUTE
from vmpooler_tasks.model.pools.state import PoolFacts, PoolStateName, state_of
from vmpooler_tasks.model.pools.suspension import LastError
from vmpooler_tasks.model.redaction import redacted
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.deadletters import recent_failures
from vmpooler_tasks.store.deadletters.recent_failures import PoolFailures
from vmpooler_tasks.store.health import snapshot
from vmpooler_tasks.store.health.snapshot import PoolSnapshot, Snapshot
from vmpooler_tasks.store.orders import overrides
from vmpooler_tasks.store.pools import clones as clones_in_flight
from vmpooler_tasks.store.pools import views
from vmpooler_tasks.store.pools.views import Progress
from vmpooler_tasks.store.vmpooler.members import QueueMembers, read_members

RECENT_SECONDS = 3600.0
"""A failure counts as recent for this long."""

CLONE_QUEUE, CHECK_QUEUE, *_ = WORK_QUEUES

MAX_SHOWN_VMS = 200
"""VMs of each queue that the details name."""

ALWAYS_SHOWN = (Queue.READY, Queue.PENDING, Queue.RUNNING, Queue.COMPLETED)

NO_FAILURES = PoolFailures(0, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """One pool. `cloning` counts the pending VMs that are being cloned.

    `state`, `since`, `until` and `why` are those of `PoolState`. `failures` counts its dead letters of the last
    `failures_seconds`, `last_failure` is the newest of them. `last_error` is what the circuit breaker counted last for
    the pool or its provider, at the epoch `last_error_at`: it may have been fixed since.

    `provider_closed_until`: epoch until which the circuit breaker suspends its provider, after failures.
    `pool_closed_until`: the same for the pool itself, after failed clones or checks. In the past: until a clone
    succeeds. `brake`: what the engaged brake of the pool holds, in words; '' if it is not engaged.
    """

    pool: str
    state: PoolStateName
    since: float | None
    until: float | None
    why: str
    size: int
    ready: int
    pending: int
    cloning: int
    running: int
    completed: int
    failures: int
    failures_seconds: float
    last_failure: str
    last_error: str
    last_error_at: float | None
    provider: str
    provider_closed_until: float | None
    pool_closed_until: float | None
    brake: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def overview(
    db: Database, settings: Settings, now: float, *, queues: Sequence[str] = (), broker: Database | None = None
) -> tuple[Snapshot, list[PoolRow]]:
    """Read the state of every configured pool, or, where none is configured, of every pool that VMPooler registered.

    Pools with VMs that left the configuration stand at the end.

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
    reader = _RowReader(settings, found, views.read_progress(db), now)
    rows = [reader.row(name, clones.get(name, 0), failures.get(name, NO_FAILURES)) for name in found.pools]
    removed = [state for state in found.removed if state.name not in found.pools]
    return found, rows + [
        reader.removed_row(state, clones.get(state.name, 0), failures.get(state.name, NO_FAILURES)) for state in removed
    ]


@dataclass(frozen=True, slots=True)
class _RowReader:
    """Makes the rows of one moment."""

    settings: Settings
    found: Snapshot
    progress: Progress
    now: float

    def row(self, name: str, clones: int, failures: PoolFailures) -> PoolRow:
        pool, state = self.settings.pool(name), self.found.pools[name]
        provider = self.settings.provider_of(pool) if pool else ""
        error = self._last_error(state, provider, failures)
        facts = self._facts(name, provider, clones, error.text if error else failures.last_message)
        current = state_of(facts, self.now)
        return PoolRow(
            pool=name,
            state=current.name,
            since=current.since,
            until=current.until,
            why=current.why,
            size=facts.size,
            ready=facts.ready,
            pending=facts.pending,
            cloning=clones,
            running=state.vms.get(Queue.RUNNING, 0),
            completed=state.vms.get(Queue.COMPLETED, 0),
            failures=failures.count,
            failures_seconds=RECENT_SECONDS,
            last_failure=failures.last_message,
            last_error=error.text if error else "",
            last_error_at=error.at if error else None,
            provider=provider,
            provider_closed_until=self.found.suspended_until.get(provider),
            pool_closed_until=state.suspended_until,
            brake=self._brake_text(name),
        )

    def removed_row(self, state: RemovedPoolState, clones: int, failures: PoolFailures) -> PoolRow:
        """Return the row of a pool that left the configuration."""
        rules = self.settings.drain_rules
        return PoolRow(
            pool=state.name,
            state=PoolStateName.REMOVED,
            since=state.removed.since if state.removed else None,
            until=state.drained_from(rules),
            why=f"in no configuration, {state.counts_text}: {state.fate(rules)}",
            size=0,
            ready=state.vms[Queue.READY],
            pending=state.vms[Queue.PENDING],
            cloning=clones,
            running=state.vms[Queue.RUNNING],
            completed=state.vms[Queue.COMPLETED],
            failures=failures.count,
            failures_seconds=RECENT_SECONDS,
            last_failure=failures.last_message,
            last_error="",
            last_error_at=None,
            provider=state.provider,
            provider_closed_until=self.found.suspended_until.get(state.provider),
            pool_closed_until=None,
            brake=self._brake_text(state.name),
        )

    def _brake_text(self, pool: str) -> str:
        brake = self.found.brakes.get(pool) if self.settings.config.manage_pools else None
        return brake.counts_text if brake else ""

    def _last_error(self, state: PoolSnapshot, provider: str, failures: PoolFailures) -> LastError | None:
        """Return the newest error of the pool; its provider's if it is suspended, or if VMs of the pool failed."""
        of_provider = self.found.last_errors.get(provider)
        if not failures.count and self.found.suspended_until.get(provider) is None:
            of_provider = None
        known = [error for error in (state.last_error, of_provider) if error]
        return max(known, key=lambda error: error.at, default=None)

    def _facts(self, name: str, provider: str, clones: int, last_error: str) -> PoolFacts:
        pool, state, config = self.settings.pool(name), self.found.pools[name], self.settings.config
        is_ours = config.manage_pools and pool is not None
        until, by = self._suspension(state, provider) if is_ours else (None, "")
        slots_are_used = self.progress.clones_in_flight >= config.task_limit
        return PoolFacts(
            size=state.size(pool.size if pool else None),
            ready=state.vms.get(Queue.READY, 0),
            pending=state.vms.get(Queue.PENDING, 0),
            cloning=clones,
            pause=state.pause if is_ours else None,
            suspended_until=until,
            suspended_by=by,
            moved=self.progress.moved.get(name) if is_ours else None,
            last_error=last_error,
            obstacles=obstacles(self.found.fleet, self.progress.watch) if is_ours else (),
            waits_for=f"no slot is free: task_limit ({config.task_limit}) is reached" if slots_are_used else "",
            clone_seconds=MINUTE * ((pool and pool.timeout) or config.timeout),
            brake=self.found.brakes.get(name) if config.manage_pools else None,
        )

    def _suspension(self, state: PoolSnapshot, provider: str) -> tuple[float | None, str]:
        """Return until when the pool or its provider is suspended, and why; the later of both."""
        both = (
            (state.suspended_until, "its clones or checks failed repeatedly"),
            (self.found.suspended_until.get(provider), f"provider {provider} failed repeatedly, or hung"),
        )
        lasting = [(until, by) for until, by in both if until is not None]
        return max(lasting, default=(None, ""))


def obstacles(fleet: Fleet, watch: ManagerWatch) -> tuple[str, ...]:
    """Return what keeps clones from starting in any pool; `watch` is the one for another pool manager."""
    missing = [queue for queue in (CHECK_QUEUE, CLONE_QUEUE) if fleet.is_queue_missing(queue)]
    return (
        *([watched] if (watched := watch.obstacle()) else []),
        *(["no beat is alive"] if fleet.is_beat_missing() else []),
        *([f"no worker takes {' and '.join(missing)}"] if missing else []),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSetting:
    """One setting of a pool: `configured` in the file, `override` set through VMPooler's API, `effective` now."""

    name: str
    configured: Any
    override: str | None
    effective: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDetails:
    """`known_template`: the one that the VMs were last made from. `reset`: one was requested and is not done yet."""

    row: PoolRow
    aliases: Sequence[str]
    queues: Mapping[Queue, QueueMembers]
    settings: Sequence[PoolSetting]
    known_template: str | None
    reset: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "state": self.row.as_json(),
            "aliases": list(self.aliases),
            "queues": [_queue_json(queue, members) for queue, members in self.queues.items()],
            "settings": [asdict(setting) for setting in self.settings],
            "known_template": self.known_template,
            "reset": self.reset,
        }


def read_details(db: Database, settings: Settings, name: str, now: float) -> PoolDetails:
    """Return the details of one pool. Raise InvalidInputError if it is neither configured nor registered."""
    _, rows = overview(db, settings, now)
    row = next((row for row in rows if row.pool == name), None)
    if row is None:
        raise InvalidInputError(f"there is no pool {name!r}")
    pool, orders = settings.pool(name), overrides.read_orders(db, name)
    members = {queue: read_members(db, queue, name) for queue in Queue}
    return PoolDetails(
        row=row,
        aliases=pool.alias if pool else (),
        queues={queue: found for queue, found in members.items() if queue in ALWAYS_SHOWN or found.total},
        settings=_settings(settings, row, orders),
        known_template=orders.prepared_template,
        reset=orders.reset,
    )


def _settings(settings: Settings, row: PoolRow, orders: overrides.Orders) -> list[PoolSetting]:
    pool = settings.pool(row.pool)
    if pool is None:
        return [PoolSetting(name="size", configured=None, override=orders.size, effective=row.size)]
    target = pool.clone_target or settings.config.clone_target
    overridden = [
        PoolSetting(name="size", configured=pool.size, override=orders.size, effective=row.size),
        PoolSetting(
            name="template",
            configured=pool.template,
            override=orders.template,
            effective=orders.template or pool.template,
        ),
        PoolSetting(
            name="clone_target",
            configured=target,
            override=orders.clone_target,
            effective=orders.clone_target or target,
        ),
    ]
    named = {setting.name for setting in overridden} | {"name", "alias"}
    others = {"provider": row.provider, **redacted(pool.as_written())}
    return overridden + [
        PoolSetting(name=option, configured=value, override=None, effective=value)
        for option, value in others.items()
        if option not in named and value is not None
    ]


def _queue_json(queue: Queue, members: QueueMembers) -> dict[str, Any]:
    vms = members.vms or ()
    shown = vms[:MAX_SHOWN_VMS]
    return {
        "queue": str(queue),
        "total": members.total,
        "readable": members.vms is not None,
        "vms": [
            {
                "vm": vm.name,
                "since": vm.since,
                "template": vm.template,
                "host": vm.host,
                "request": vm.request_id,
                "user": vm.user,
            }
            for vm in shown
        ],
        "left_out": members.total - len(shown),
    }
