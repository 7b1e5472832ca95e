"""Tasks for pools that this worker's configuration does not name: workers may have different ones for a while."""

from collections.abc import Mapping, Sequence
from typing import Any

from celery import Task

from vmpooler_tasks.model.fleet import Fleet
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.fleet.heartbeats import read_fleet_with_pools
from vmpooler_tasks.store.guards import removed_pools
from vmpooler_tasks.store.guards.managed_pools import read_managed_pool
from vmpooler_tasks.store.pools import clones
from vmpooler_tasks.store.vmpooler import queues
from vmpooler_tasks.tasks.pool_context import pool_context
from vmpooler_tasks.tasks.process import database, settings
from vmpooler_tasks.tasks.registry import TASKS, TaskSpec
from vmpooler_tasks.ttl_cache import ResultCache

RETURN_SECONDS = 1.0
"""How long a returned message rests. Meanwhile another worker has it: the one that waits longest gets each message."""

FLEET_SECONDS = 1.0
"""How long what was read of the other workers is used: hundreds of messages may come at once."""

_fleets: ResultCache[Fleet] = ResultCache(FLEET_SECONDS)


def divert(task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Return the result of a task whose pool this worker does not know, or None if the task shall run here.

    If another live worker has the pool, the message goes back to its queue. It keeps its expiry. A pool that is in no
    configuration any more is as its last inspection recorded it: its checks and destructions run here.
    """
    spec = TASKS[task.name]
    about = {**dict(zip(spec.subject, args, strict=False)), **kwargs}
    pool = about.get("pool")
    if "pool" not in spec.subject or not isinstance(pool, str) or settings().pool(pool):
        return None
    fleet = _read_fleet()
    is_unsure = not spec.is_repeated and fleet.is_known and (not fleet.knows_all_pools or _is_between_workers(pool))
    if pool in fleet.managed_pools(spec.queue) or is_unsure:
        _send_back(task, args, kwargs)
        return "returned: another worker has the pool"
    return _without_configuration(spec, pool, about)


def _read_fleet() -> Fleet:
    return _fleets.get("fleet", lambda: read_fleet_with_pools(database()))


def _is_between_workers(pool: str) -> bool:
    """Return True if the pool is known and not removed: its worker has just started, or stopped to be restarted."""
    db = database()
    if pool in removed_pools.read_removed(db):
        return False
    return read_managed_pool(db, pool) is not None or pool in queues.pool_names(db)


def return_to_manager(task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Return the message if another live worker manages pools and takes its queue. Return None if there is none.

    For a worker that manages no pools: it must not swallow the work of those that do.
    """
    if not any(one.manages_pools for one in _read_fleet().workers_of(TASKS[task.name].queue)):
        return None
    _send_back(task, args, kwargs)
    return "returned: another worker manages the pools"


def _send_back(task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    task.signature_from_request(task.request, args, dict(kwargs), countdown=RETURN_SECONDS).apply_async()


def _without_configuration(spec: TaskSpec, pool: str, about: Mapping[str, Any]) -> str | None:
    removed = removed_pools.read_removed(database()).get(pool)
    if spec.step is Step.CLONE and removed:
        vm = str(about.get("vm")).encode()
        clones.take_back(database(), pool, [vm], now=pool_context().clock(), stopped=keys.REMOVED_POOLS)
        return "not cloned: its pool is in no configuration"
    if not spec.is_repeated and not (removed and spec.step is Step.DESTROY):
        return None  # nobody sends it again: it runs by the record of the pool, or fails with a dead letter
    if removed and (spec.step is None or pool_context().removed_pool(pool)):
        return None
    return "no worker has the pool in its configuration"
