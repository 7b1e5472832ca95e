"""The marks of VMs that VMPooler made, or these workers before their installation had a name. docs/pools.md."""

import logging
import random
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import VmNotFoundError
from vmpooler_tasks.jobs.ownership.marks import PoolInventory
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.jobs.pools.guarded_calls import CHECK_SECONDS
from vmpooler_tasks.jobs.pools.provider_calls import call_within
from vmpooler_tasks.model.names import Queue, on_one_line
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.pools.results import MarkResult
from vmpooler_tasks.providers import MarkingProvider
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.pools import breakers, vms
from vmpooler_tasks.store.pools.views import PoolView
from vmpooler_tasks.store.redis.locks import take_turn
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

MAX_MARKS, MARK_SECONDS = 100, 60.0
"""So many VMs of a pool are handed out for a mark at once, drawn at random; the next ones so many seconds later."""


def due_marks(context: PoolContext, pool: Pool, view: PoolView, inventory: PoolInventory) -> Iterator[Work]:
    """Yield the VMs without a mark that get one: a queue of the pool shows that this installation has them.

    A pending VM gets it when its clone has ended. Before that the VM of this name may be somebody else's.
    """
    if not inventory.unmarked or not context.settings.config.installation:
        return
    found = inventory.unmarked & (view.queues[Queue.READY] | view.queues[Queue.RUNNING])
    found |= _cloned(context, inventory.unmarked & view.queues[Queue.PENDING])
    if not found or not isinstance(context.provider_of(pool), MarkingProvider):
        return
    if not take_turn(context.db, keys.turn("marks", pool.name), MARK_SECONDS):
        return
    for vm in random.sample(sorted(found), min(len(found), MAX_MARKS)):
        yield Work(Step.MARK, vm.decode(), pool.name)


def run(context: PoolContext, vm: str, pool_name: str) -> MarkResult:
    """Give the VM the mark of this installation, if it is ready, running, or pending after the end of its clone.

    A failure is logged. It does not count for the circuit breaker: the pool works without marks.
    """
    pool = context.pool(pool_name)
    provider, spec = context.provider_of(pool), context.spec(pool)
    if not isinstance(provider, MarkingProvider) or not _is_queued(context, vm, pool_name):
        return MarkResult.LEFT_QUEUE
    if breakers.read_state(context.db, context.settings.provider_of(pool), pool_name).refuses_calls(context.clock()):
        return MarkResult.FAILED
    try:
        existed = call_within(CHECK_SECONDS, provider.mark_vm, spec, vm)
    except VmNotFoundError:
        return MarkResult.MISSING
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, the VM stays as it is
        text, shown = "[!] [%s] '%s' did not get the mark of this installation: %s", on_one_line(vm)
        what = on_one_line(f"{type(error).__name__}: {error}")
        _log.warning(text, pool_name, shown, what, extra={"vm": shown, "pool": pool_name})
        return MarkResult.FAILED
    if not existed:
        return MarkResult.MISSING
    text, shown = "[*] [%s] '%s' has the mark of this installation now", on_one_line(vm)
    _log.info(text, pool_name, shown, extra={"vm": shown, "pool": pool_name})
    return MarkResult.MARKED


def _is_queued(context: PoolContext, vm: str, pool: str) -> bool:
    raw = vm.encode()
    in_queue = {
        queue: queues.are_in(context.db, queue, pool, [raw])[0] for queue in (Queue.READY, Queue.RUNNING, Queue.PENDING)
    }
    if in_queue[Queue.READY] or in_queue[Queue.RUNNING]:
        return True
    return in_queue[Queue.PENDING] and bool(_cloned(context, {raw}))


def _cloned(context: PoolContext, pending: AbstractSet[bytes]) -> frozenset[bytes]:
    """Return those of the pending VMs whose clone has ended."""
    names = sorted(pending)
    rows = zip(names, vms.read_metadata(context.db, names), strict=True)
    return frozenset(vm for vm, fields in rows if fields["clone_time"])
