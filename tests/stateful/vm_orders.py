"""Orders of users for running VMs: disks, snapshots and reverts. Workers die in the middle of them."""

import json
from collections import Counter

from tests.stateful.known import Message
from tests.stateful.users import Users
from tests.support.order_world import OWN_KEYS
from vmpooler_tasks.errors import ProviderError, TransientProviderError
from vmpooler_tasks.jobs.orders import carry_out, failures, take
from vmpooler_tasks.jobs.orders.failures import FailedOrder, OrderError
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.vm_orders import VmOrder
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.orders.vm_orders import ORDER_KEYS

KINDS = ("disk", "snapshot", "revert")
COURSES = ("well", "well", "killed before", "killed after", "reply lost")

_FIRST = {Step.CREATE_DISK: "has_disk", Step.CREATE_SNAPSHOT: "has_snapshot", Step.REVERT_SNAPSHOT: "has_snapshot"}
_LAST = {
    Step.CREATE_DISK: "create_disk_ended",
    Step.CREATE_SNAPSHOT: "create_snapshot_ended",
    Step.REVERT_SNAPSHOT: "revert",
}
"""The provider's first call for an order, and the one at whose end it is done."""


class KilledError(BaseException):
    """Ends a worker in the middle of an order: nobody reports it."""


class VmOrders(Users):
    """`ordered` counts the orders of each kind that users gave for a VM; `orders` are the messages that wait."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.ordered: Counter[tuple[Step, str]] = Counter()
        self.orders: list[Message] = []

    def order_for_vm(self, pool: str, kind: str) -> None:
        """Order something for a running VM, which a user may have to check out. What waits is not ordered twice."""
        if not self._members(Queue.RUNNING, pool):
            self.check_out(pool)
        for vm in self._members(Queue.RUNNING, pool)[:1]:
            waiting = self._waiting()
            match kind:
                case "disk":
                    self.api.add_disk(vm, 8)
                case "snapshot":
                    self.api.snapshot(vm)
                case _:
                    for name in self.api.show_vm(vm).body[vm].get("snapshots", [])[:1]:
                        self.api.revert(vm, name)
            self.ordered.update((step, vm) for step, _ in self._waiting() - waiting)

    def take_orders(self) -> None:
        """As beat orders it."""
        self.orders += map(self.message, [*take.reap(self.context), *take.run(self.context)])

    def carry_out(self, message: Message, course: str) -> None:
        """A worker takes the message. It may die before or after the provider did its work, or not get the reply."""
        work = message.work
        order = VmOrder(work.step, work.vm, work.value or "")
        operation = (_FIRST if course == "killed before" else _LAST)[work.step]
        if course.startswith("killed"):
            self.provider.before(operation, _die)
        elif course == "reply lost":
            self.provider.raises(operation, TransientProviderError("the line was cut"))
        try:
            carry_out.run(self._worker(), order, work.pool, message.task_id)
        except KilledError:
            pass
        except (ProviderError, OrderError) as error:
            failures.fail(self.context, FailedOrder.of(order, work.pool, error, message.task_id))
        finally:
            self.provider.before(operation, None)
            self.provider.raises(operation)

    def check_orders(self) -> None:
        """No order is carried out more often than it was given."""
        for (vm, snapshot), count in Counter(self.provider.reverts).items():
            given = self.ordered[Step.REVERT_SNAPSHOT, vm]
            assert count <= given, f"{vm} was reverted to {snapshot} {count} times, and {given} times was ordered"
        for vm in {vm for vm, _ in self.provider.disks}:
            assert len(self.provider.sizes(vm)) <= self.ordered[Step.CREATE_DISK, vm], f"{vm} has too many disks"

    def orders_left(self) -> list[str]:
        """Return what is left of orders: those that wait, and keys of ours about orders that were sent or claimed."""
        return [*map(str, self._waiting()), *(key.decode() for key in OWN_KEYS if self.db.client.exists(key))]

    def check_disks(self) -> None:
        """What a VM in use has is what its hash says, unless its order has failed."""
        tasks = self.db.client.zrange(keys.dead_letters(DeadLetterQueue.TASKS), 0, -1)
        failed = {json.loads(raw).get("vm") for raw in tasks}
        for vm in {vm for vm, _ in self.provider.disks} & set(self._seen.queue(Queue.RUNNING)):
            shown = self.api.show_vm(vm).body[vm].get("disk", [])
            assert len(shown) == len(self.provider.sizes(vm)) or vm in failed

    def _waiting(self) -> set[tuple[Step, bytes]]:
        return {(step, member) for step, key in ORDER_KEYS.items() for member in self.db.client.smembers(key)}


def _die(vm: str) -> None:
    raise KilledError(vm)
