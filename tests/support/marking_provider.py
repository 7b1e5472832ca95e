"""A provider in memory whose VMs carry marks, and a world that uses it."""

from collections.abc import Sequence

from tests.support.pool_world import PoolWorld, Scripted
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers import Inventory, MarkedVm, PoolSpec, VirtualMachine
from vmpooler_tasks.store import Database

OWN, OTHER_MARK = "prague", "vienna"


class MarkingScripted(Scripted):
    """It marks what it makes. What a test adds with `has` has the mark in `marks`, else none."""

    def list_vms(self, pool: PoolSpec) -> Inventory:
        return {vm: self.marks.get(vm) for vm in super().list_vms(pool)}

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        made = super().create_vm(pool, vm)
        if not made.existed:
            self.marks[vm] = OWN
        return made

    def mark_vm(self, pool: PoolSpec, vm: str) -> bool:
        self._begin("mark", pool, vm)
        if vm not in self.machines:
            return False
        if self.marks.get(vm) not in (None, OWN):
            raise PermanentProviderError("the VM has the mark of another installation")
        self.marks[vm] = OWN
        return True

    def list_marked(self) -> Sequence[MarkedVm]:
        self._begin("list_marked", PoolSpec(name=""), "")
        return [MarkedVm(name=vm, pool=home) for vm, home in self.pool_of.items() if self.marks.get(vm) == OWN]

    def destroy_marked(self, marked: MarkedVm) -> bool:
        self._begin("destroy_marked", PoolSpec(name=marked.pool), marked.name)
        if self.marks.get(marked.name) != OWN:
            return False
        self.pool_of.pop(marked.name, None)
        return self.machines.pop(marked.name, None) is not None

    def has_own(self, *vms: str, pool: str) -> None:
        """Add these VMs to its inventory, with the mark of this installation."""
        self.has(*vms, pool=pool)
        self.marks.update(dict.fromkeys(vms, OWN))


def marking_world(db: Database, **given: object) -> PoolWorld:
    """A world whose installation has a name. Its provider marks VMs."""
    world = PoolWorld(db, config={"installation": OWN, "task_limit": 0})
    world.provider = MarkingScripted()
    for name, value in given.items():
        setattr(world, name, value)
    return world
