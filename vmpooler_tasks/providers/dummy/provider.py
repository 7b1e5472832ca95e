"""The dummy provider. A failure is drawn and raised first, before any time is spent."""

import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from vmpooler_tasks.clock import Clock, ServerClock
from vmpooler_tasks.errors import (
    PermanentProviderError,
    ThrottledProviderError,
    TransientProviderError,
    VmNotFoundError,
)
from vmpooler_tasks.providers.dummy.draws import Draws
from vmpooler_tasks.providers.dummy.inventory import NO_MARK, MachinePart, MachineStore
from vmpooler_tasks.providers.dummy.machine import Machine
from vmpooler_tasks.providers.dummy.options import DummyOptions, Kind, Operation
from vmpooler_tasks.providers.protocol import (
    Inventory,
    MarkedVm,
    PoolSpec,
    ProviderContext,
    ProviderProblem,
    Readiness,
    VirtualMachine,
)

RETRY_AFTER_SECONDS = 1.0
"""The pause that it names when it throttles a call."""

OPERATIONS: tuple[Operation, ...] = ("create", "destroy", "ready", "list", "find", "disk", "snapshot", "revert")


class Dummy:
    """A Provider with disks and snapshots. protocol.py documents its methods.

    Without random options each call costs one round trip to Redis; with them a second one, to count the call.
    """

    pool_options: frozenset[str] = frozenset()
    """The options of a pool that this provider reads, beside those of every pool."""

    def __init__(
        self, context: ProviderContext, *, sleep: Callable[[float], None] = time.sleep, clock: Clock | None = None
    ) -> None:
        self._options = DummyOptions.model_validate(dict(context.options))
        self._random = frozenset(operation for operation in OPERATIONS if self._options.is_random(operation))
        self._installation = context.installation
        address = self._options.redis_url or context.redis_url
        self._inventory = MachineStore(address, has_marks=bool(context.installation))
        self._sleep, self._clock = sleep, clock or ServerClock(self._inventory.read_time)

    def list_vms(self, pool: PoolSpec) -> Inventory:
        draws = self._draw("list", pool.name, pool.name)
        self._wait(draws.seconds("duration", self._options.list_seconds))
        names = (
            self._inventory.present(pool.name, self._clock())
            if self._options.lost
            else self._inventory.names(pool.name)
        )
        if draws.hits("half_inventory", self._options.half_inventory):
            raise TransientProviderError(f"the inventory broke off after {len(names) // 2} of {len(names)} VMs")
        marks = self._inventory.marks(pool.name)  # after the names: each of these had its mark by then
        return {vm: self._mark(marks.get(vm)) for vm in names}

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        self._draw("find", pool.name, vm)
        machine = self._inventory.get(pool.name, vm, self._clock())
        return None if machine is None else machine.as_virtual_machine(vm)

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        self._require_template(pool)
        draws = self._draw("create", pool.name, vm)
        self._wait(draws.seconds("duration", self._options.clone_seconds))
        now = self._clock()
        machine = Machine.create(vm, self._options, draws, now)
        found = self._inventory.add(pool.name, vm, machine, now, self._installation)
        return found.as_virtual_machine(vm, existed=found is not machine)

    def is_ready(self, pool: PoolSpec, vm: str) -> Readiness:
        self._draw("ready", pool.name, vm)
        now = self._clock()
        machine = self._inventory.get(pool.name, vm, now)
        if machine is None:
            return Readiness(False, "the VM does not exist", "VmNotFoundError")
        return machine.readiness(now)

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        draws = self._draw("destroy", pool.name, vm)
        self._wait(draws.seconds("duration", self._options.destroy_seconds))
        if self._installation:
            self._refuse_mark_of_another(self._mark(self._inventory.get_mark(pool.name, vm)))
        if self._options.lost:
            return self._inventory.remove_present(pool.name, vm, self._clock())
        return self._inventory.remove(pool.name, vm)

    def mark_vm(self, pool: PoolSpec, vm: str) -> bool:
        self._draw("find", pool.name, vm)
        if self._inventory.get(pool.name, vm, self._clock()) is None:
            return False
        mark = self._mark(self._inventory.get_mark(pool.name, vm))
        if mark is None:
            self._require_installation()
            self._inventory.set_mark(pool.name, vm, self._installation)
        self._refuse_mark_of_another(mark)
        return True

    def tag_vm_user(self, pool: PoolSpec, vm: str, user: str) -> bool:
        self._draw("find", pool.name, vm)
        if self._inventory.get(pool.name, vm, self._clock()) is None:
            return False
        if self._installation:
            self._refuse_mark_of_another(self._mark(self._inventory.get_mark(pool.name, vm)))
        self._inventory.set_user(pool.name, vm, user)
        return True

    def user_of(self, pool: PoolSpec, vm: str) -> str | None:
        """Return the tag of the VM's user; None if it has none. For tests."""
        return self._inventory.get_user(pool.name, vm)

    def list_marked(self) -> list[MarkedVm]:
        if not self._installation:  # it marks nothing
            return []
        now, found = self._clock(), list[MarkedVm]()
        for pool in self._inventory.marked_pools():
            names, marks = self._inventory.present(pool, now), self._inventory.marks(pool)
            found += [MarkedVm(name=vm, pool=pool) for vm in names if marks.get(vm) == self._installation]
        return found

    def destroy_marked(self, marked: MarkedVm) -> bool:
        self._draw("destroy", marked.pool, marked.name)
        self._require_installation()
        if self._inventory.get_mark(marked.pool, marked.name) != self._installation:
            return False
        return self._inventory.remove_present(marked.pool, marked.name, self._clock())

    def add_foreign_vm(self, pool: PoolSpec, vm: str, mark: str | None = None) -> None:
        """Add a VM that somebody else made, without a mark or with that of another installation. For tests.

        Without a name for this installation every VM is its own.
        """
        now = self._clock()
        machine = Machine.create(vm, self._options, Draws(self._options.seed, "create", vm, 0), now)
        self._inventory.add(pool.name, vm, machine, now, mark or NO_MARK)

    def has_disk(self, pool: PoolSpec, vm: str, disk: str) -> bool:
        self._draw("find", pool.name, vm)
        self._require_vm(pool, vm)
        return self._inventory.has_part(pool.name, vm, MachinePart.DISK, disk)

    def create_disk(self, pool: PoolSpec, vm: str, disk: str, size_gb: int) -> None:
        draws = self._draw("disk", pool.name, vm)
        self._wait(draws.seconds("duration", self._options.disk_seconds))
        self._require_vm(pool, vm)
        self._inventory.add_part(pool.name, vm, MachinePart.DISK, disk, size_gb)

    def has_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> bool:
        self._draw("find", pool.name, vm)
        self._require_vm(pool, vm)
        return self._inventory.has_part(pool.name, vm, MachinePart.SNAPSHOT, snapshot)

    def create_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        draws = self._draw("snapshot", pool.name, vm)
        self._wait(draws.seconds("duration", self._options.snapshot_seconds))
        self._require_vm(pool, vm)
        self._inventory.add_part(pool.name, vm, MachinePart.SNAPSHOT, snapshot, self._clock())

    def revert_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        draws = self._draw("revert", pool.name, vm)
        self._require_vm(pool, vm)
        if not self._inventory.has_part(pool.name, vm, MachinePart.SNAPSHOT, snapshot):
            raise PermanentProviderError("the VM has no such snapshot")
        self._inventory.count_revert(pool.name, vm, snapshot)  # at its start: a revert that is cut off did harm as well
        self._wait(draws.seconds("duration", self._options.revert_seconds))

    def find_problems(self, pools: Sequence[PoolSpec]) -> list[ProviderProblem]:
        """Return the pools whose template does not exist. Raise TransientProviderError if Redis does not reply."""
        self._inventory.read_time()
        return [ProviderProblem(text=text, pool=pool.name) for pool in pools if (text := self._template_problem(pool))]

    def close(self) -> None:
        self._inventory.close()

    def _mark(self, stored: str | None) -> str | None:
        """Return the mark of a VM, from what is stored of it. An installation without a name has made them all."""
        if not self._installation:
            return ""
        return None if stored == NO_MARK else stored

    def _require_installation(self) -> None:
        if not self._installation:
            raise PermanentProviderError("the installation has no name: set installation in :config:")

    def _refuse_mark_of_another(self, mark: str | None) -> None:
        if mark and mark != self._installation:
            raise PermanentProviderError("the VM has the mark of another installation")

    def _require_vm(self, pool: PoolSpec, vm: str) -> None:
        if self._inventory.get(pool.name, vm, self._clock()) is None:
            raise VmNotFoundError("the VM does not exist")

    def _draw(self, operation: Operation, pool: str, name: str) -> Draws:
        """Return the random source of this call. Raise, or hang, if it draws a failure."""
        if operation not in self._random:
            return Draws(self._options.seed, operation, name, 0)
        draws = Draws(self._options.seed, operation, name, self._inventory.count_call(operation, pool, name))
        fraction = draws.fraction("failure")
        for kind, rate in self._options.failures.of(operation).rates().items():
            if fraction < rate:
                self._fail_or_hang(kind, f"{operation}: {ERROR_TEXTS[kind]}")
                break
            fraction -= rate
        return draws

    def _fail_or_hang(self, kind: Kind, message: str) -> None:
        """Raise the failure. After a hang return: the call is carried out late, after its caller gave up."""
        if kind == "hang":
            self._wait(self._options.hang_seconds)
            return
        _raise(kind, message)

    def _wait(self, seconds: float) -> None:
        if seconds > 0:  # a sleep of 0 would switch to another thread
            self._sleep(seconds)

    def _require_template(self, pool: PoolSpec) -> None:
        if problem := self._template_problem(pool):
            raise PermanentProviderError(problem)

    def _template_problem(self, pool: PoolSpec) -> str:
        templates = self._options.templates
        if templates is None or pool.template in templates:
            return ""
        return f"template {pool.template} does not exist" if pool.template else f"pool {pool.name} has no template"


ERROR_TEXTS: dict[Kind, str] = {
    "transient": "the connection to the hypervisor was reset",
    "permanent": "permission denied by the hypervisor",
    "throttled": "too many requests",
    "hang": "",
}
"""Without the VM's name, so that equal failures are equal."""


def _raise(kind: Kind, message: str) -> NoReturn:
    if kind == "permanent":
        raise PermanentProviderError(message)
    if kind == "throttled":
        raise ThrottledProviderError(message, RETRY_AFTER_SECONDS)
    raise TransientProviderError(message)
