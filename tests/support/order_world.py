"""Orders for running VMs over a test's database: a provider with disks and snapshots, and VMPooler's API beside it."""

from dataclasses import dataclass, field
from typing import Any

from tests.support.pool_world import PoolWorld, Scripted
from tests.support.world import POOL
from vmpooler_tasks.errors import VmNotFoundError
from vmpooler_tasks.jobs.orders import carry_out, failures, take
from vmpooler_tasks.jobs.orders.failures import FailedOrder
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.vm_orders import VmOrder
from vmpooler_tasks.providers import PoolSpec
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.orders.vm_orders import ORDER_KEYS

OWN_KEYS = (keys.VM_ORDERS, keys.VM_ORDERS_SENT, keys.VM_ORDER_ORIGINS)


class WithOrders(Scripted):
    """Keeps disks and snapshots as well. `reverts` lists every revert that was started."""

    def __init__(self) -> None:
        super().__init__()
        self.disks: dict[tuple[str, str], int] = {}
        self.snapshots: set[tuple[str, str]] = set()
        self.reverts: list[tuple[str, str]] = []

    def sizes(self, vm: str) -> list[int]:
        return sorted(size for (owner, _), size in self.disks.items() if owner == vm)

    def has_disk(self, pool: PoolSpec, vm: str, disk: str) -> bool:
        self._require("has_disk", pool, vm)
        return (vm, disk) in self.disks

    def create_disk(self, pool: PoolSpec, vm: str, disk: str, size_gb: int) -> None:
        assert (vm, disk) not in self.disks, "a second disk of the same name"
        self._before.get("create_disk", str)(vm)
        self.disks[vm, disk] = size_gb
        self._require("create_disk_ended", pool, vm)

    def has_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> bool:
        self._require("has_snapshot", pool, vm)
        return (vm, snapshot) in self.snapshots

    def create_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        assert (vm, snapshot) not in self.snapshots, "a second snapshot of the same name"
        self.snapshots.add((vm, snapshot))
        self._require("create_snapshot_ended", pool, vm)

    def revert_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        self.reverts.append((vm, snapshot))
        self._require("revert", pool, vm)

    def _require(self, operation: str, pool: PoolSpec, vm: str) -> None:
        self._begin(operation, pool, vm)
        if vm not in self.machines:
            raise VmNotFoundError("the VM does not exist")


@dataclass
class OrderWorld(PoolWorld):
    """A world whose provider has disks and snapshots. `order` is what VMPooler's API does."""

    provider: WithOrders = field(default_factory=WithOrders)

    def order(self, step: Step, member: str | bytes) -> None:
        self.client.sadd(ORDER_KEYS[step], member)

    def waiting(self, step: Step) -> set[str]:
        return {member.decode(errors="replace") for member in self.client.smembers(ORDER_KEYS[step])}

    def tick(self) -> list[Work]:
        """Do what the two ticks of the pool workers do about orders."""
        return [*take.reap(self.context), *take.run(self.context)]

    def carry_out(self, work: Work, owner: str = "task-1/0") -> str:
        """Do the work as its task does. Report a failure as the failure hook does."""
        assert work.value is not None
        order = VmOrder(work.step, work.vm, work.value)
        try:
            return str(carry_out.run(self.context, order, work.pool, owner))
        except Exception as error:  # noqa: BLE001 - whatever it is, the hook takes it
            failures.fail(self.context, FailedOrder.of(order, work.pool, error, owner))
            return type(error).__name__

    def serve(self) -> list[str]:
        """Take what waits, and do it."""
        return [self.carry_out(work, f"task-{number}/0") for number, work in enumerate(self.tick())]

    def failed(self) -> list[dict[str, Any]]:
        return self.dead_letters("tasks")

    def leftovers(self) -> list[bytes]:
        """The keys of ours about orders that exist."""
        records = self.client.keys(keys.VM_ORDER_PREFIX + b"*")
        return [*records, *(key for key in OWN_KEYS if self.client.exists(key))]


def running(world: PoolWorld, vm: str = "vm-1", pool: str = POOL) -> str:
    """A VM that a user has."""
    return world.running_vm(vm, 60, pool, checkout=world.stamp(60))
