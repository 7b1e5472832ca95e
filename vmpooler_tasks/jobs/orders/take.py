"""Find the orders that wait, and hand them out to the workers. docs/vmpooler-behaviour.md: Disks and snapshots.

An order stays in VMPooler's set until a worker claims it, in the step that takes it out. A message only says that it is
there: a lost message loses no order, and a second one does nothing.
"""

import logging
from collections.abc import Collection, Iterator

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.orders.failures import INTERRUPTED, FailedOrder, InterruptedOrderError, OrderError, fail
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.jobs.pools.new_clones import planned_until
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.model.vm_orders import ORDERS, VmOrder, parse_order_key
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards.managed_pools import read_managed_names
from vmpooler_tasks.store.orders import vm_orders
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")


def run(context: PoolContext, *, may_send: bool = True) -> list[Work]:
    """Return the orders to hand out now. Those that nobody can carry out become dead letters.

    Without `may_send`, since the workers have enough to do, the orders that wait stay where they are.
    """
    orders = list(_read_orders(context))
    places = _find_places(context, {order.vm for order in orders})
    found: dict[VmOrder, str] = {}
    for order in orders:
        place = places.get(order.vm)
        if isinstance(place, OrderError):
            fail(context, FailedOrder.of(order, None, place))
        elif place is not None:
            found[order] = place
    if not may_send:
        return []
    served = {pool for pool in set(found.values()) if _can_be_served(context, pool)}
    chosen = [order for order, pool in found.items() if pool in served]
    now = context.clock()
    sent = vm_orders.plan(context.db, chosen, now=now, until=now + context.settings.config.lease_seconds)
    return [Work(order.step, order.vm, found[order], value=order.value) for order in sent]


def _read_orders(context: PoolContext) -> Iterator[VmOrder]:
    """Yield the orders that wait. Those that are not valid become dead letters."""
    waiting = vm_orders.read_waiting(context.db)
    for step in ORDERS:
        if step not in waiting:
            _log.error("[!] [%s] The orders cannot be read: %s", step, readable(vm_orders.ORDER_KEYS[step]))
        for raw in waiting.get(step, ()):
            try:
                yield VmOrder.parse(step, raw)
            except ValueError as error:
                fail(context, FailedOrder(step=step, member=raw, error_class="OrderError", message=str(error)))


def reap(context: PoolContext) -> Iterator[Work]:
    """Take orders from lost workers. Yield those that may be repeated; a revert becomes a dead letter."""
    now = context.clock()
    for pool, key in vm_orders.reap(context.db, now=now, leased_until=planned_until(context.settings, now)):
        step, member = parse_order_key(key)
        order = VmOrder.parse(step, member)
        if ORDERS[step].starts_once:
            fail(context, FailedOrder.of(order, pool, InterruptedOrderError(INTERRUPTED)))
            continue
        about = {"vm": order.vm, "pool": pool}
        _log.warning("[!] [%s] '%s' is handed out again: its worker was lost", step, order.member, extra=about)
        yield Work(step, order.vm, pool, value=order.value)


def _find_places(context: PoolContext, vms: Collection[str]) -> dict[str, str | OrderError]:
    """Return VM → the pool whose running queue has it, or the error of its orders if there is none.

    A VM whose place is not known has no entry: its orders wait, and health names the key that cannot be read.
    """
    names = sorted(vms)
    rows = queues.read_fields(context.db, [keys.vm(vm.encode()) for vm in names], b"pool", b"template")
    named = {vm: [readable(field) for field in row if field] for vm, row in zip(names, rows, strict=True)}
    places: dict[str, str | OrderError] = {}
    found, unknown = vm_orders.find_running(context.db, named)
    if others := [vm for vm in names if vm not in found and vm not in unknown]:
        known = _read_known_pools(context)
        elsewhere, unknown_elsewhere = vm_orders.find_running(context.db, dict.fromkeys(others, known))
        found |= elsewhere
        unknown |= unknown_elsewhere
        places = {vm: OrderError("the VM is not running" if named[vm] else "there is no such VM") for vm in others}
    places |= found
    return {vm: place for vm, place in places.items() if vm not in unknown}


def _read_known_pools(context: PoolContext) -> list[str]:
    configured = [pool.name for pool in context.settings.pools]
    return [*configured, *queues.pool_names(context.db), *read_managed_names(context.db)]


def _can_be_served(context: PoolContext, name: str) -> bool:
    """Return whether a worker with this configuration can carry out orders of the pool now."""
    try:
        pool = context.pool(name)
    except InvalidInputError:  # a worker with another configuration may have it
        return False
    state = breakers.read_state(context.db, context.settings.provider_of(pool), pool.name)
    return not state.refuses_orders(context.clock())
