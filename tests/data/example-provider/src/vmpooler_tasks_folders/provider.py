"""The provider. `vmpooler_tasks.providers.protocol` documents each method."""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError, VmNotFoundError
from vmpooler_tasks.providers import (
    Inventory,
    MarkedVm,
    PoolSpec,
    ProviderContext,
    ProviderProblem,
    Readiness,
    VirtualMachine,
)
from vmpooler_tasks_folders.errors import translated_errors
from vmpooler_tasks_folders.machine import Machine
from vmpooler_tasks_folders.options import FoldersOptions, PoolOptions


class Folders:
    """Its VMs are folders, which all workers share. A rename is atomic, so threads and processes need no lock."""

    pool_options = frozenset(PoolOptions.model_fields)
    """The options of a pool that this provider reads. `config check` warns of all others that nobody reads."""

    def __init__(self, context: ProviderContext) -> None:
        # Validate here, and connect later: `config check` creates the provider as well, without a network.
        options = FoldersOptions.model_validate(dict(context.options))
        self._installation = context.installation
        self._templates = options.folder / "templates"
        self._machines = options.folder / "machines"
        self._scratch = options.folder / "scratch"

    def list_vms(self, pool: PoolSpec) -> Inventory:
        with translated_errors():
            return {name: self._mark(self._place(pool, name)) for name in self._names(_as_file_name(pool.name))}

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        with translated_errors():
            place = self._place(pool, vm)
            return Machine.read(place).as_virtual_machine(vm) if self._exists(place) else None

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        with translated_errors():
            place, template = self._place(pool, vm), self._template(pool)
            existed = self._exists(place)
            if not existed:
                boot_seconds = PoolOptions.model_validate(dict(pool.options)).boot_seconds
                new = self._copy(template, pool, vm)
                Machine.new(vm, self._installation, boot_seconds).write(new)
                existed = not _move(new, place)  # or another thread was faster
            return Machine.read(place).as_virtual_machine(vm, existed=existed)

    def is_ready(self, pool: PoolSpec, vm: str) -> Readiness:
        with translated_errors():
            place = self._place(pool, vm)
            if not self._exists(place):
                return Readiness(False, "the VM does not exist", "VmNotFoundError")
            if Machine.read(place).boots_at > time.time():
                return Readiness(False, "the VM is still booting")
            return Readiness(True)

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        with translated_errors():
            place, scratch = self._place(pool, vm), self._scratch_of(pool, vm)
            if self._exists(place):
                self._refuse_mark_of_another(Machine.read(place))
            existed = self._exists(place) and _move(place, scratch / uuid4().hex)
            shutil.rmtree(scratch, ignore_errors=True)  # with what a worker left there that died half-way
            return existed

    def close(self) -> None:
        """Close nothing: there are no connections."""

    # MarkingProvider

    def mark_vm(self, pool: PoolSpec, vm: str) -> bool:
        with translated_errors():
            place = self._place(pool, vm)
            if not self._exists(place):
                return False
            machine = Machine.read(place)
            self._refuse_mark_of_another(machine)
            machine._replace(installation=self._installation).write(place)
            return True

    def list_marked(self) -> list[MarkedVm]:
        with translated_errors():
            self._require_storage()
            pools = [folder.name for folder in self._machines.iterdir()]
            found = [MarkedVm(name=name, pool=pool) for pool in pools for name in self._names(pool)]
            return [marked for marked in found if self._is_ours(marked)]

    def destroy_marked(self, marked: MarkedVm) -> bool:
        return self._is_ours(marked) and self.destroy_vm(PoolSpec(name=marked.pool), marked.name)

    # CheckedProvider

    def find_problems(self, pools: Sequence[PoolSpec]) -> list[ProviderProblem]:
        with translated_errors():
            self._require_storage()
            return [
                ProviderProblem(text=f"no permission to write to the folder {folder.name}")
                for folder in (self._machines, self._scratch)
                if not os.access(folder, os.W_OK)
            ] + [problem for pool in pools for problem in self._problems_of(pool)]

    # DiskProvider

    def has_disk(self, pool: PoolSpec, vm: str, disk: str) -> bool:
        with translated_errors():
            return (self._existing(pool, vm) / "disks" / _as_file_name(disk)).exists()

    def create_disk(self, pool: PoolSpec, vm: str, disk: str, size_gb: int) -> None:
        with translated_errors():
            disks = self._existing(pool, vm) / "disks"
            disks.mkdir(exist_ok=True)
            with (disks / _as_file_name(disk)).open("wb") as file:
                file.truncate(size_gb * 1024**3)  # sparse

    # SnapshotProvider

    def has_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> bool:
        with translated_errors():
            return (self._existing(pool, vm) / "snapshots" / _as_file_name(snapshot)).exists()

    def create_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        with translated_errors():
            place = self._existing(pool, vm)
            (place / "snapshots").mkdir(exist_ok=True)
            _move(self._copy(place, pool, vm), place / "snapshots" / _as_file_name(snapshot))

    def revert_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        with translated_errors():
            place = self._existing(pool, vm)
            kept = place / "snapshots" / _as_file_name(snapshot)
            if not kept.exists():
                raise PermanentProviderError("the VM has no such snapshot")
            shutil.rmtree(place / "disks", ignore_errors=True)
            shutil.copytree(kept, place, dirs_exist_ok=True)

    # What is below is not in the protocol.

    def _place(self, pool: PoolSpec, vm: str) -> Path:
        return self._machines / _as_file_name(pool.name) / _as_file_name(vm)

    def _scratch_of(self, pool: PoolSpec, vm: str) -> Path:
        """Return the folder for what is not a VM yet, or no longer. It is not in the inventory."""
        return self._scratch / _as_file_name(pool.name) / _as_file_name(vm)

    def _exists(self, place: Path) -> bool:
        """Return whether the folder exists. Raise an error if that is not certain."""
        if place.is_dir():
            return True
        self._require_storage()
        return False

    def _existing(self, pool: PoolSpec, vm: str) -> Path:
        if not self._exists(place := self._place(pool, vm)):
            raise VmNotFoundError("the VM does not exist")
        return place

    def _require_storage(self) -> None:
        """Raise an error if the storage is away: then a missing folder does not mean that there is no VM."""
        for folder in (self._machines, self._scratch):
            if not folder.is_dir():
                raise TransientProviderError(f"the storage has no folder {folder.name}: is it mounted?")

    def _names(self, pool: str) -> list[str]:
        try:
            return [folder.name for folder in (self._machines / pool).iterdir()]
        except FileNotFoundError:
            self._require_storage()
            return []  # the first VM of a pool makes its folder

    def _mark(self, place: Path) -> str | None:
        return Machine.read(place).installation or None

    def _is_ours(self, marked: MarkedVm) -> bool:
        return bool(self._installation) and self._mark(self._machines / marked.pool / marked.name) == self._installation

    def _refuse_mark_of_another(self, machine: Machine) -> None:
        if machine.installation not in (None, "", self._installation):
            raise PermanentProviderError(f"it has the mark of the installation {machine.installation!r}")

    def _template(self, pool: PoolSpec) -> Path:
        template = self._templates / (pool.template or "")
        if not pool.template or ".." in template.parts or not template.is_dir():
            self._require_storage()
            raise PermanentProviderError(f"template {pool.template} does not exist")
        return template

    def _problems_of(self, pool: PoolSpec) -> list[ProviderProblem]:
        problems = []
        try:
            self._template(pool)
        except PermanentProviderError as error:
            problems.append(str(error))
        try:
            PoolOptions.model_validate(dict(pool.options))
        except ValidationError as error:
            problems += [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return [ProviderProblem(text=text, pool=pool.name) for text in problems]

    def _copy(self, folder: Path, pool: PoolSpec, vm: str) -> Path:
        """Return a copy in the scratch folder, without the snapshots of a VM."""
        copy = self._scratch_of(pool, vm) / uuid4().hex
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("snapshots"))
        return copy


def _as_file_name(name: str) -> str:
    """Return the name. Raise PermanentProviderError if it leads elsewhere: names come from Redis, and from users."""
    if not name or "/" in name or "\0" in name or name.startswith("."):
        raise PermanentProviderError("a name that is empty, has a / or starts with a dot cannot be used")
    return name


def _move(source: Path, target: Path) -> bool:
    """Move the folder in one step. Return False if another thread was faster, and remove the source then."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError:
        if not target.exists() and source.exists():
            raise
        shutil.rmtree(source, ignore_errors=True)
        return False
    return True
