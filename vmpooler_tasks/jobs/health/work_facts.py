"""Work of the pool workers that stands still, whatever the cause: inspections, clones, on-demand requests.

It is read from what the work records when it ends. So also a cause that nothing else detects becomes a reason.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.health.assessment import StalledWork
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.model.pools.lifecycle import MINUTE
from vmpooler_tasks.model.requests import parse_item
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.health import progress
from vmpooler_tasks.store.health.progress import WorkProgress
from vmpooler_tasks.store.orders import vm_orders
from vmpooler_tasks.store.pools import clones
from vmpooler_tasks.store.redis.reads import Reads
from vmpooler_tasks.store.requests import fulfilment

MIN_STALLED_SECONDS = 60.0
STALLED_AFTER_INTERVALS = 10
"""Work stands still after so many of its intervals, and after so many seconds at least."""


ORDERS_WAIT_SECONDS = 30.0
"""Seconds that an order for a running VM may wait for a worker."""

VMPOOLER_ORDER_SECONDS = 5.0
"""Seconds between two orders of one kind that VMPooler's manager takes (`check_disk_queue` in pool_manager.rb)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFacts:
    """`is_managed`: these workers manage the pools. `progress`: of all work.

    `expected_since`: work that never ended → epoch of the first check that expected it.
    """

    is_managed: bool = False
    progress: WorkProgress = field(default_factory=WorkProgress)
    expected_since: Mapping[str, float] = field(default_factory=dict)


def stalled_after_seconds(settings: Settings) -> float:
    """Return the seconds without an end after which work stands still."""
    return max(MIN_STALLED_SECONDS, STALLED_AFTER_INTERVALS * settings.config.check_loop_delay_min)


def read_work(db: Database, settings: Settings, expected_since: Mapping[str, float], now: float) -> WorkFacts:
    """Return the facts about the work of the pool workers; none where `manage_pools` is off."""
    if not settings.config.manage_pools:
        return WorkFacts()
    found = progress.read(db)
    expected = [*(progress.inspections_of(pool.name) for pool in settings.pools), progress.REQUESTS_WORK]
    never = [work for work in expected if work not in found.idle_seconds]
    return WorkFacts(
        is_managed=True, progress=found, expected_since={work: expected_since.get(work, now) for work in never}
    )


def stalled_work(
    db: Database, settings: Settings, facts: WorkFacts, stopped: Collection[str], now: float
) -> Iterator[StalledWork]:
    """Return the work that stands still. `stopped`: pools that get no clones, because they are suspended or paused."""
    yield from _waiting_orders(db, settings, now)
    if settings.config.manage_pools:
        yield from _stalled_inspections(settings, facts, now)
        yield from _stalled_clones(db, settings, facts, stopped, now)
        yield from _stalled_requests(db, settings, facts, now)


def _idle_seconds(facts: WorkFacts, work: str, now: float) -> float:
    """Return for how long the work has not ended: if it never did, since a check first expected it."""
    known = facts.progress.idle_seconds.get(work)
    return now - facts.expected_since.get(work, now) if known is None else known


def _stalled_inspections(settings: Settings, facts: WorkFacts, now: float) -> Iterator[StalledWork]:
    limit = stalled_after_seconds(settings)
    idle = {pool.name: _idle_seconds(facts, progress.inspections_of(pool.name), now) for pool in settings.pools}
    late = {pool: seconds for pool, seconds in idle.items() if seconds > limit}
    for pool, seconds in late.items():
        yield StalledWork(
            code=ReasonCode.INSPECTION_STALLED,
            seconds=seconds,
            pool=pool,
            error=facts.progress.errors.get(progress.inspections_of(pool)),
            is_everywhere=len(late) == len(idle),
        )


def _stalled_clones(
    db: Database, settings: Settings, facts: WorkFacts, stopped: Collection[str], now: float
) -> Iterator[StalledWork]:
    """Return at most one: no clone has ended for long, one is overdue, and no worker makes one in time."""
    limit = stalled_after_seconds(settings)
    since_last = facts.progress.idle_seconds.get(progress.CLONES_WORK)
    if since_last is not None and since_last <= limit:
        return
    overdue: list[tuple[float, str]] = []
    for clone in clones.read_in_flight(db, now):
        pool, started = settings.pool(clone.pool), parse_time(clone.started)
        if pool is None or started is None or clone.pool in stopped:
            continue
        age = now - started.timestamp()
        is_late = age > limit + (_clone_seconds(settings, pool) if clone.is_claimed else 0)
        if clone.is_claimed and not is_late:
            return
        if is_late:
            overdue.append((age, clone.pool))
    if overdue:
        age, name = max(overdue)
        seconds = age if since_last is None else min(age, since_last)
        yield StalledWork(code=ReasonCode.CLONES_STALLED, seconds=seconds, pool=name)


def _clone_seconds(settings: Settings, pool: Pool) -> float:
    """Return the time limit of one clone."""
    return settings.timeout_of(pool) * MINUTE


def _stalled_requests(db: Database, settings: Settings, facts: WorkFacts, now: float) -> Iterator[StalledWork]:
    """Return at most one: no pass has ended well for long and a request waits, or a request outlived its time to live.

    Every pass ends the requests that are late. One that stays shows that passes end well and move nothing.
    """
    limit, seconds = stalled_after_seconds(settings), _idle_seconds(facts, progress.REQUESTS_WORK, now)
    request = _oldest_request(db) if seconds > limit else None
    if request is None:
        lifetime = settings.config.ondemand_request_ttl * MINUTE
        request, since = fulfilment.read_oldest(db, created_before=now - lifetime - limit) or (None, now)
        seconds = now - lifetime - since
    if request is not None:
        error, key = facts.progress.errors.get(progress.REQUESTS_WORK), readable(keys.request(request))
        yield StalledWork(code=ReasonCode.REQUESTS_STALLED, seconds=seconds, key=key, error=error)


def _waiting_orders(db: Database, settings: Settings, now: float) -> Iterator[StalledWork]:
    """Return the kinds of orders for running VMs that nobody carries out, here or, without `manage_pools`, in VMPooler.

    VMPooler's manager takes one order of each kind in five seconds.
    """
    try:
        found = vm_orders.observe_waiting(db, now)
    except WrongTypeError:  # a reason of its own names the key
        return
    for waiting in found:
        backlog = 0 if settings.config.manage_pools else VMPOOLER_ORDER_SECONDS * waiting.count
        limit = ORDERS_WAIT_SECONDS + backlog
        if waiting.seconds > limit:
            key, count = readable(waiting.key), waiting.count
            text = f"{count} {'order waits' if count == 1 else 'orders wait'}"
            yield StalledWork(
                code=ReasonCode.ORDERS_WAITING, seconds=waiting.seconds, key=key, error=text, limit_seconds=limit
            )


def _oldest_request(db: Database) -> bytes | None:
    """Return the id of a request that waits: the oldest new one, else the oldest whose clones are not started."""
    reads = Reads()
    reads.add("new", "ZRANGE", keys.WAITING_REQUESTS, 0, 0)
    reads.add("items", "ZRANGE", keys.PENDING_ONDEMAND_CLONES, 0, 0)
    replies = reads.send(db)
    for name in replies.get("new", ()):
        return bytes(name)
    for item in replies.get("items", ()):
        try:
            return parse_item(item.decode(errors="surrogateescape")).request_id.encode(errors="surrogateescape")
        except ValueError:
            return None
    return None
