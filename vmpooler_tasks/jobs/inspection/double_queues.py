"""VMs in more than one queue, in one pool or in several. An inspection repairs them before it hands out work.

See docs/vmpooler-behaviour.md, A VM in two queues.
"""

import logging
import random
from collections.abc import Sequence
from itertools import combinations

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.guards.double_queue import QueuePlace, winning_place
from vmpooler_tasks.model.names import INSPECTED_QUEUES, Queue, on_one_line, readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards import double_queues
from vmpooler_tasks.store.guards.strays import other_queues
from vmpooler_tasks.store.pools.views import PoolView

_log = logging.getLogger("vmpooler_tasks.pools")

MAX_REPAIRS = 500
"""VMs in no completed queue that one inspection repairs, drawn at random; the next one repairs more."""

MAX_READ_POOLS = 5_000
"""VMs in no completed queue whose pool one inspection reads, drawn at random: all of a usual pool."""

LIVING_QUEUES = (Queue.PENDING, Queue.READY, Queue.RUNNING)


def repair_double_queues(context: PoolContext, pool: Pool, view: PoolView) -> bool:
    """Let each VM of the pool that is in more than one queue leave all but one. Return True if that changed a queue.

    What is in two queues of the pool the view shows. A VM that is in another pool, too, has metadata that names another
    pool than this or that: so only VMs with other metadata are compared with other pools. Every completed VM is
    checked, since it is destroyed next.
    """
    db, own = context.db, [keys.queue(queue, pool.name) for queue in INSPECTED_QUEUES]
    completed, suspects = view.queues[Queue.COMPLETED], _in_two_queues(view)
    others = _other_queues(context, pool)
    if others:
        living = set().union(*(view.queues[queue] for queue in LIVING_QUEUES)) - completed
        suspects |= set(double_queues.find_foreign(db, pool.name, [*completed, *_drawn(living, MAX_READ_POOLS)]))
    if not suspects:
        return False
    chosen = [*sorted(suspects & completed), *_drawn(suspects - completed, MAX_REPAIRS)]
    places = double_queues.find_places(db, chosen, [*own, *others])
    facts = double_queues.read_facts(db, places, context.settings.config.vm_lifetime)
    now, is_changed = context.clock(), False
    for vm, found in places.items():
        winner = winning_place(found, facts[vm], now)
        left = double_queues.repair(db, vm, winner, found, facts[vm])
        if left:
            is_changed = True
            _log_repair(vm, winner, left)
    return is_changed


def _in_two_queues(view: PoolView) -> set[bytes]:
    """Return the VMs that the view shows in two queues. It was not read at one instant: a VM may just have moved."""
    return set().union(*(one & other for one, other in combinations(view.queues.values(), 2)))


def _other_queues(context: PoolContext, pool: Pool) -> list[bytes]:
    """Return the queues of all other pools. If the names of these cannot be read, health names the key."""
    try:
        return other_queues(context.db, pool.name, [one.name for one in context.settings.pools])
    except WrongTypeError:
        return []


def _drawn(names: set[bytes], maximum: int) -> Sequence[bytes]:
    """Return the names in order, or as many at random, so that no VM is left out for ever."""
    return sorted(names) if len(names) <= maximum else random.sample(list(names), maximum)


def _log_repair(vm: bytes, winner: QueuePlace, left: Sequence[QueuePlace]) -> None:
    shown = on_one_line(readable(vm))
    text = "[!] [%s] '%s' was in more than one queue: it stays in '%s', and is removed from %s"
    removed = on_one_line(", ".join(f"'{place.queue}' of '{place.pool}'" for place in left))
    _log.warning(text, winner.pool, shown, winner.queue, removed, extra={"vm": shown, "pool": winner.pool})
