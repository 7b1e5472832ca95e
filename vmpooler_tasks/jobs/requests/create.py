"""Creates on-demand requests for users without the API server. See docs/vmpooler-behaviour.md."""

import random
import uuid
from collections import Counter
from collections.abc import Container, Mapping, Sequence

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters.names import known_pools, pools_named, suggestion
from vmpooler_tasks.model.requests import Wanted, draw_pools
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.orders.overrides import read_clone_targets
from vmpooler_tasks.store.pools import pauses
from vmpooler_tasks.store.requests import fulfilment

_DICE = random.SystemRandom()


def create(
    db: Database,
    settings: Settings,
    requested: Sequence[tuple[str, int]],
    now: float,
    *,
    dice: random.Random = _DICE,
) -> str:
    """Create a request for (pool or alias, count)…, and return its id. Raise InvalidInputError if it is refused.

    The VMs of an alias are spread over its pools that are not paused, if it has any. `dice` draws their pools.
    """
    settings.refuse_if_observing("a request for VMs")
    targets, paused = read_clone_targets(db), pauses.read_paused(db) if settings.config.manage_pools else {}
    choices = [(name, count, *_choices(settings, name, targets, paused)) for name, count in requested]
    _refuse_wrong_counts(settings, requested)
    wanted = [
        Wanted(name, pool, drawn)
        for name, count, pools, weights in choices
        for pool, drawn in draw_pools(pools, weights, count, dice)
    ]
    request_id = str(uuid.uuid4())
    fulfilment.create(db, request_id, wanted, now)
    return request_id


def _refuse_wrong_counts(settings: Settings, requested: Sequence[tuple[str, int]]) -> None:
    """Raise InvalidInputError for a request for nothing, and for more VMs of one name than VMPooler's API accepts."""
    counts, max_vms = Counter[str](), settings.config.max_ondemand_instances_per_request
    for name, count in requested:
        counts[name] += count
    if not counts.total():
        raise InvalidInputError("it asks for no VM")
    if (count := max(counts.values())) > max_vms:
        raise InvalidInputError(f"it asks for {count} VMs, more than max_ondemand_instances_per_request ({max_vms})")


def _choices(
    settings: Settings, name: str, overrides: Mapping[str, str], paused: Container[str]
) -> tuple[Sequence[str], Mapping[str, float]]:
    """Return the pools of a name, and the weights of their clone targets. A clone target without a weight has none.

    `overrides` maps pools to the clone targets that were set through the API. Raise InvalidInputError for a name that
    neither a pool nor an alias has.
    """
    pools = pools_named(settings, name)
    if not pools:
        raise InvalidInputError(f"there is no pool {name!r}{suggestion(name, known_pools(settings, None))}")
    pools = [pool for pool in pools if pool not in paused] or pools
    weights = settings.config.backend_weight
    targets = {pool: overrides.get(pool) or settings.clone_target_of(pool) for pool in pools}
    return pools, {pool: weights[target] for pool, target in targets.items() if target in weights}


def is_closed(db: Database, request_id: str) -> bool:
    """Return True if there is nothing to wait for: the request has a status, or is gone."""
    record = fulfilment.read_record(db, request_id.encode())
    return bool(record.fields.get("status")) or not record.fields
