"""Find the orders that wait, and hand them out to the workers. docs/vmpooler-behaviour.md: Disks and snapshots.

An order stays in VMPooler's set until a worker claims it, in the step that takes it out. A message only says that it is
there: a lost message loses no order, and a second one does nothing.
"""

import logging
from collections.abc import Iterator

from vmpooler_tasks.errors import InvalidInputError, WrongTypeError
from vmpooler_tasks.jobs.orders.failures import INTERRUPTED, FailedOrder, InterruptedOrderError, OrderError, fail
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.jobs.pools.new_clones import planned_until
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.model.vm_orders import ORDERS, VmOrder, parse_order_key
from vmpooler_tasks.store.guards.managed_pools import read_managed_names
from vmpooler_tasks.store.orders import vm_orders
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")


def run(context: PoolContext, *, may_send: bool = True) -> list[Work]:
    """Return the orders to hand out now. Those that nobody can carry out become dead letters.

    Without `may_send`, since the workers have enough to do, the orders that wait stay where they are.
    """
    places = _Places(context)
    found: dict[VmOrder, str] = {}
    for step in ORDERS:
        try:
            waiting = vm_orders.read_waiting(context.db, step)
        except WrongTypeError as error:
            _log.error("[!] [%s] The orders cannot be read: %s", step, error)
            continue
        for raw in waiting:
            try:
                order = VmOrder.parse(step, raw)
                pool = places.pool_of(order.vm)
            except (ValueError, OrderError) as error:
                fail(context, FailedOrder(step=step, member=raw, error_class="OrderError", message=str(error)))
                continue
            except WrongTypeError:  # nobody knows where the VM is: health names the key, and the order waits
                continue
            if may_send and places.can_be_served(pool):
                found[order] = pool
    now = context.clock()
    sent = vm_orders.plan(context.db, list(found), now=now, until=now + context.settings.config.lease_seconds)
    return [Work(order.step, order.vm, found[order], value=order.value) for order in sent]


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


class _Places:
    """Where VMs run, and which pools can be served now. What is read once holds for one tick."""

    def __init__(self, context: PoolContext) -> None:
        self._context = context
        self._pools: list[str] | None = None
        self._served: dict[str, bool] = {}

    def pool_of(self, vm: str) -> str:
        """Return the pool whose running queue has the VM. Raise OrderError with the reason if there is none."""
        db = self._context.db
        fields = queues.query_fields(db, [vm.encode()], b"pool", b"template").read()[0]
        named = [readable(field) for field in fields if field]
        found = vm_orders.find_running(db, vm, named) or vm_orders.find_running(db, vm, self._known_pools())
        if found is None:
            raise OrderError("the VM is not running" if named else "there is no such VM")
        return found

    def can_be_served(self, pool: str) -> bool:
        """Return whether a worker with this configuration can carry out orders of the pool now."""
        if pool not in self._served:
            self._served[pool] = self._read_served(pool)
        return self._served[pool]

    def _known_pools(self) -> list[str]:
        if self._pools is None:
            configured = [pool.name for pool in self._context.settings.pools]
            db = self._context.db
            self._pools = list(dict.fromkeys([*configured, *queues.pool_names(db), *read_managed_names(db)]))
        return self._pools

    def _read_served(self, name: str) -> bool:
        try:
            pool = self._context.pool(name)
        except InvalidInputError:  # a worker with another configuration may have it
            return False
        state = breakers.read_state(self._context.db, self._context.settings.provider_of(pool))
        return state.suspended_until is None or state.suspended_until <= self._context.clock()
