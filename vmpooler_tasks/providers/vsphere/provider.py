"""The provider: what each call of the protocol does on a vCenter."""

from collections.abc import Sequence
from contextlib import suppress
from time import sleep
from typing import Any

from pyVmomi import vim

from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError, VmNotFoundError
from vmpooler_tasks.providers.protocol import (
    Inventory,
    MarkedVm,
    PoolSpec,
    ProviderContext,
    ProviderProblem,
    Readiness,
    VirtualMachine,
)
from vmpooler_tasks.providers.vsphere import disks, snapshots
from vmpooler_tasks.providers.vsphere.api.faults import BusyError, DuplicateNameError, error_of, hiding
from vmpooler_tasks.providers.vsphere.api.properties import FoundObject, read_below, read_objects, read_vms_in
from vmpooler_tasks.providers.vsphere.api.references import id_of
from vmpooler_tasks.providers.vsphere.api.session import VcenterSession
from vmpooler_tasks.providers.vsphere.api.watch import ObjectWatch
from vmpooler_tasks.providers.vsphere.checks import Checks
from vmpooler_tasks.providers.vsphere.clone import Cloner
from vmpooler_tasks.providers.vsphere.guests import GUEST_PATHS, ON, address_of, find_guest_problem, find_port_problem
from vmpooler_tasks.providers.vsphere.hosts import HostChooser
from vmpooler_tasks.providers.vsphere.machines import Machines
from vmpooler_tasks.providers.vsphere.marks import annotation_with_user, mark_of, marked_annotation, read_annotation
from vmpooler_tasks.providers.vsphere.options import CloneDefaults, VsphereOptions, VspherePool
from vmpooler_tasks.providers.vsphere.places import Places

NOTES, IS_TEMPLATE, DEVICES, FILE = "config.annotation", "config.template", "config.hardware.device", "config.files"

BUSY_ATTEMPTS, BUSY_SECONDS = 5, 2.0
"""How often a VM that is busy with another task is tried again, and the pause before that."""


class Vsphere:
    """A Provider with marks, checks, disks and snapshots. protocol.py documents its methods."""

    pool_options: frozenset[str] = frozenset(VspherePool.model_fields)
    """The options of a pool that this provider reads, beside those of every pool."""

    def __init__(self, context: ProviderContext) -> None:
        self._options = VsphereOptions.model_validate(dict(context.options))
        defaults = CloneDefaults.model_validate(dict(context.config))
        self._installation = context.installation
        self._session = VcenterSession(self._options)
        self._places = Places(self._session, self._options, defaults)
        self._machines = Machines(self._session, self._places, self._options.task_timeout_seconds)
        self._guests = ObjectWatch(self._session, vim.VirtualMachine, GUEST_PATHS)
        self._hosts = HostChooser(self._session, defaults)
        self._cloner = Cloner(self._session, self._places, self._machines, self._hosts, defaults)
        self._checks = Checks(self._session, self._places, defaults)

    def list_vms(self, pool: PoolSpec) -> Inventory:
        options = VspherePool.of(pool)
        try:
            found = read_vms_in(self._session, self._places.folder(options), ["name", NOTES, IS_TEMPLATE])
        except VmNotFoundError:
            found = []
        if not found:  # nothing, or a folder that does not exist any more: search it again, to be certain
            self._places.forget()
            found = read_vms_in(self._session, self._places.folder(options), ["name", NOTES, IS_TEMPLATE])
        return {
            each.require("name"): mark_of(each.get(NOTES), each.require("name"))
            for each in found
            if not each.get(IS_TEMPLATE)
        }

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        with hiding(vm):
            found = self._machines.find(VspherePool.of(pool), vm, GUEST_PATHS)
            return None if found is None else self._as_machine(vm, found)

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        with hiding(vm):
            options = VspherePool.of(pool)
            try:
                ref = self._cloner.clone(pool, options, vm, self._options.username, self._installation)
            except DuplicateNameError:
                return self._existing(options, vm)
            return self._with_address(options, vm, ref, existed=False)

    def is_ready(self, pool: PoolSpec, vm: str) -> Readiness:
        with hiding(vm):
            options = VspherePool.of(pool)
            found = self._machines.find(options, vm, GUEST_PATHS)
            if found is None:
                return Readiness(False, "the VM does not exist", "VmNotFoundError")
            if problem := find_guest_problem(found):
                return problem
            port = self._options.ready_port if options.ready_port is None else options.ready_port
            problem = find_port_problem(str(address_of(found)), port, self._options.ready_timeout_seconds)
            return problem or Readiness(True)

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        with hiding(vm):
            options = VspherePool.of(pool)
            for attempt in range(1, BUSY_ATTEMPTS + 1):
                found = self._machines.find(options, vm, [NOTES, IS_TEMPLATE, DEVICES, FILE, "runtime.powerState"])
                if found is None:
                    return False
                self._require_not_foreign(found)
                try:
                    return self._destroy(found)
                except BusyError:
                    if attempt == BUSY_ATTEMPTS:
                        raise
                sleep(BUSY_SECONDS)
        raise AssertionError("not reached")

    def mark_vm(self, pool: PoolSpec, vm: str) -> bool:
        with hiding(vm):
            found = self._machines.find(VspherePool.of(pool), vm, [NOTES, IS_TEMPLATE])
            if found is None or found.get(IS_TEMPLATE):
                return False
            self._require_not_foreign(found)
            if self._installation and mark_of(found.get(NOTES), vm) is None:
                notes = marked_annotation(found.get(NOTES), vm=vm, pool=pool.name, installation=self._installation)
                self._machines.run(found.ref, "ReconfigVM_Task", vim.vm.ConfigSpec(annotation=notes))
            return True

    def tag_vm_user(self, pool: PoolSpec, vm: str, user: str) -> bool:
        with hiding(vm):
            found = self._machines.find(VspherePool.of(pool), vm, [NOTES, IS_TEMPLATE])
            if found is None or found.get(IS_TEMPLATE):
                return False
            self._require_not_foreign(found)
            notes = annotation_with_user(found.get(NOTES), user)
            self._machines.run(found.ref, "ReconfigVM_Task", vim.vm.ConfigSpec(annotation=notes))
            return True

    def list_marked(self) -> Sequence[MarkedVm]:
        return [marked for marked, _ in self._read_marked()]

    def destroy_marked(self, marked: MarkedVm) -> bool:
        with hiding(marked.name):
            refs = [ref for each, ref in self._read_marked() if each == marked]
            return sum(self._destroy_ref(ref) for ref in refs) > 0

    def find_problems(self, pools: Sequence[PoolSpec]) -> Sequence[ProviderProblem]:
        return self._checks.find_problems(pools)

    def has_disk(self, pool: PoolSpec, vm: str, disk: str) -> bool:
        with hiding(vm):
            found = self._machines.require(VspherePool.of(pool), vm, [DEVICES])
            return disks.has_disk(found.require(DEVICES), disk)

    def create_disk(self, pool: PoolSpec, vm: str, disk: str, size_gb: int) -> None:
        with hiding(vm):
            found = self._machines.require(VspherePool.of(pool), vm, [DEVICES, FILE])
            changes = disks.added_disk(found.require(DEVICES), found.require(FILE).vmPathName, disk, size_gb)
            self._machines.run(found.ref, "ReconfigVM_Task", vim.vm.ConfigSpec(deviceChange=changes))

    def has_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> bool:
        with hiding(vm):
            found = self._machines.require(VspherePool.of(pool), vm, ["snapshot"])
            return snapshots.find_snapshot(found.get("snapshot"), snapshot) is not None

    def create_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        with hiding(vm):
            found = self._machines.require(VspherePool.of(pool), vm, ())
            self._machines.run(
                found.ref,
                "CreateSnapshot_Task",
                name=snapshot,
                description=snapshots.SNAPSHOT_DESCRIPTION,
                memory=True,
                quiesce=True,
            )

    def revert_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        with hiding(vm):
            found = self._machines.require(VspherePool.of(pool), vm, ["snapshot"])
            ref = snapshots.find_snapshot(found.get("snapshot"), snapshot)
            if ref is None:
                raise PermanentProviderError("the VM has no such snapshot")
            self._machines.run(ref, "RevertToSnapshot_Task")

    def close(self) -> None:
        self._session.close()

    def _existing(self, options: VspherePool, vm: str) -> VirtualMachine:
        """Return the VM that has the name. Finish it if this installation made it: its call may have been cut off."""
        found = self._machines.find(options, vm, [*GUEST_PATHS, NOTES, IS_TEMPLATE])
        if found is None:
            raise TransientProviderError("the folder has no such VM, but its name is taken")
        notes = read_annotation(found.get(NOTES))
        is_unfinished = found.get(IS_TEMPLATE) is None  # a VM that is being cloned has no configuration yet
        is_own = notes.name == vm and (notes.installation or "") == self._installation and not found.get(IS_TEMPLATE)
        if not is_own and not is_unfinished:
            return self._as_machine(vm, found, existed=True)
        if is_own and found.get("runtime.powerState") != ON:
            self._power_on(found)
        return self._with_address(options, vm, found.ref, existed=True)

    def _power_on(self, found: FoundObject) -> None:
        with suppress(BusyError):  # another call switches it on
            self._machines.run(found.ref, "PowerOnVM_Task")

    def _with_address(self, options: VspherePool, vm: str, ref: Any, *, existed: bool) -> VirtualMachine:
        seconds = options.address_timeout_seconds or self._options.address_timeout_seconds
        found, _ = self._guests.wait(ref, lambda found: address_of(found) is not None, seconds)
        if found is None:
            return VirtualMachine(name=vm, existed=existed)
        return self._as_machine(vm, found, existed=existed)

    def _as_machine(self, vm: str, found: FoundObject, *, existed: bool = False) -> VirtualMachine:
        return VirtualMachine(
            name=vm,
            hostname=found.get("guest.hostName") or None,
            ip=address_of(found),
            host=self._hosts.name_of(found.get("runtime.host")),
            existed=existed,
        )

    def _require_not_foreign(self, found: FoundObject) -> None:
        for path in (NOTES, IS_TEMPLATE, DEVICES, FILE):
            if path in found.missing:  # then nobody knows whose it is, and which disks are its own
                raise error_of(found.missing[path])
        if found.get(IS_TEMPLATE):
            raise PermanentProviderError("it is a template")
        other = read_annotation(found.get(NOTES)).installation
        if other and self._installation and other != self._installation:
            raise PermanentProviderError(f"it has the mark of another installation: {other}")

    def _destroy(self, found: FoundObject) -> bool:
        """Switch the VM off and delete it with the disks in its own directory. Return False if it is gone."""
        try:
            if found.get("runtime.powerState") not in {None, "poweredOff"}:
                with suppress(BusyError):  # it is off already, or the destruction says what it is busy with
                    self._machines.run(found.ref, "PowerOffVM_Task")
            if (files := found.get(FILE)) and (
                changes := disks.foreign_disks(found.get(DEVICES) or (), files.vmPathName)
            ):
                self._machines.run(found.ref, "ReconfigVM_Task", vim.vm.ConfigSpec(deviceChange=changes))
            self._machines.run(found.ref, "Destroy_Task")
        except VmNotFoundError:
            return False
        return True

    def _read_marked(self) -> list[tuple[MarkedVm, Any]]:
        if not self._installation:
            return []
        root = self._session.content.rootFolder
        marked = []
        for found in read_below(self._session, root, vim.VirtualMachine, ["name", NOTES, IS_TEMPLATE]):
            name, notes = found.require("name"), found.get(NOTES)
            if mark_of(notes, name) == self._installation and not found.get(IS_TEMPLATE):
                marked.append((MarkedVm(name=name, pool=read_annotation(notes).pool or ""), found.ref))
        return marked

    def _destroy_ref(self, ref: Any) -> bool:
        paths = ["name", NOTES, IS_TEMPLATE, DEVICES, FILE, "runtime.powerState"]
        found = read_objects(self._session, [ref], vim.VirtualMachine, paths).get(id_of(ref))
        if found is None or mark_of(found.get(NOTES), found.require("name")) != self._installation:
            return False
        self._require_not_foreign(found)
        return self._destroy(found)
