"""Which pools there are: configured here, configured by another live process, or removed from all configurations."""

import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.config.schema import as_yaml
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.guards.managed import ManagedPool, RemovedPool
from vmpooler_tasks.model.guards.removed import RemovedPoolState
from vmpooler_tasks.model.names import CHECK_QUEUE, on_one_line
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet.heartbeats import read_fleet_with_pools
from vmpooler_tasks.store.guards import brakes, foreign, managed_pools, removed_pools
from vmpooler_tasks.store.pools import registration
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

RESTART_SECONDS = 15.0
"""A pool stays registered for this long after the last process that has it stopped: it may only be restarting."""

MIN_UNSEEN_SECONDS, UNSEEN_INTERVALS = 60.0, 3
"""Without a tick for so long, a removal counts anew: nobody saw whether a process had the pool meanwhile."""


def update(context: PoolContext) -> list[str]:
    """Record which pools are removed, and remove their registration. Return the pools that need an inspection.

    Those are the pools configured here, the pools of other live pool managers, and the removed ones. Where the lists
    of other live processes are not known, or this process itself is not among them, no pool counts as removed.
    """
    own = [pool.name for pool in context.settings.pools]
    fleet = read_fleet_with_pools(context.db)
    others = sorted(fleet.managed_pools(CHECK_QUEUE).difference(own))
    if not fleet.knows_all_pools or context.settings.digest() not in fleet.configurations:
        return own + others
    found = removed_pools.read_removed(context.db)
    removed = _find_removed(context, fleet.pools.union(own), found)
    interval = context.settings.config.check_loop_delay_min
    removed_pools.observe(context.db, removed, max_gap_seconds=max(MIN_UNSEEN_SECONDS, UNSEEN_INTERVALS * interval))
    log_removed(context.settings, removed_pools.read_states(context.db, set(removed).difference(found)))
    return own + others + removed


def _find_removed(context: PoolContext, configured: frozenset[str], found: Mapping[str, RemovedPool]) -> list[str]:
    """Return the removed pools that have VMs. Remove the registrations of removed pools, and forget empty ones.

    `found`: the pools that earlier ticks recorded as removed.
    """
    db = context.db
    known = managed_pools.read_managed_names(db)
    registered: list[str] = []
    with suppress(WrongTypeError):  # health names the key
        registered = queues.pool_names(db)
    removed = sorted({*known, *found, *registered}.difference(configured))
    now = db.clock() if removed else 0.0
    left = list(removed)
    for name in removed:
        if name not in found or now - found[name].since < RESTART_SECONDS:
            continue
        if name in registered:
            _take_out(context, name, is_recorded=name in known)
        if forget_empty(db, name):
            left.remove(name)
    return left


def forget_empty(db: Database, pool: str, *, max_notes: int = 0) -> bool:
    """Forget a removed pool without VMs that has no more notes of DNS records than this. Return True if it had none."""
    if not removed_pools.forget_empty(db, pool, max_notes=max_notes):
        return False
    brakes.forget(db, pool)
    foreign.forget(db, pool)
    return True


def _take_out(context: PoolContext, pool: str, *, is_recorded: bool) -> None:
    """Remove the registration. What it says of a pool that these workers never managed is recorded first."""
    if not is_recorded:
        fields = registration.read(context.db, pool)
        provider = fields.get("provider") or _only(context.settings.providers)
        record = ManagedPool(name=pool, provider=provider, template=fields.get("template"), entry=fields)
        managed_pools.record_managed_pool(context.db, record)
    if registration.take_out(context.db, pool):
        _log.warning("[!] [%s] is in no configuration any more: VMPooler's API no longer knows it", pool)


def _only(names: Collection[str]) -> str:
    return next(iter(names)) if len(names) == 1 else ""


def register(context: PoolContext, pool: Pool) -> None:
    """Register the pool for VMPooler's API server, if it is not registered as it is configured."""
    with suppress(WrongTypeError):  # health names the key; the pool is inspected all the same
        if registration.register(context.db, pool.name, registered_fields(context.settings, pool)):
            _log.debug("[ ] [%s] registered for VMPooler's API", pool.name)


def registered_fields(settings: Settings, pool: Pool) -> dict[str, str]:
    """Return a pool's settings as VMPooler registers them. A pool without an alias has an empty one."""
    fields = {name: value for name, value in pool.as_written().items() if isinstance(value, str | int | float)}
    domain = settings.domain_of(pool)
    return {
        **{name: as_yaml(value) for name, value in fields.items()},
        "alias": ",".join(pool.alias),
        **({"domain": domain} if domain else {}),
    }


def find_removed(db: Database, settings: Settings) -> list[RemovedPoolState]:
    """Return the pools with VMs that no live process has in its configuration. Walk the whole keyspace for them.

    Where these workers do not manage pools, what a VMPooler has registered is configured there. Return none while the
    list of a live process is not known.
    """
    fleet = read_fleet_with_pools(db)
    if not fleet.knows_all_pools:
        return []
    places = (keys.place_of(key) for _, found in queues.scan_keyspace(db) for key in found)
    names = {place[1] for place in places if place}.difference(fleet.pools, (pool.name for pool in settings.pools))
    if not settings.config.manage_pools:
        names.difference_update(queues.pool_names(db))
    return [state for state in removed_pools.read_states(db, names) if state.count]


def log_removed(settings: Settings, states: Iterable[RemovedPoolState]) -> None:
    """Log each removed pool that has VMs."""
    for state in states:
        if state.count:
            text, fate = "[!] [%s] is in no configuration, %s: %s", state.fate(settings.drain_rules)
            name = on_one_line(state.name)
            _log.warning(text, name, state.counts_text, fate, extra={"pool": state.name})
