"""Finds the VMs of a pool by name, and runs tasks on them to their end."""

import threading
from collections.abc import Sequence
from typing import Any

from cachetools import LRUCache
from pyVmomi import vim

from vmpooler_tasks.errors import TransientProviderError, VmNotFoundError
from vmpooler_tasks.providers.vsphere.api.faults import error_of
from vmpooler_tasks.providers.vsphere.api.properties import FoundObject, read_objects
from vmpooler_tasks.providers.vsphere.api.references import id_of
from vmpooler_tasks.providers.vsphere.api.session import VcenterSession
from vmpooler_tasks.providers.vsphere.api.watch import ObjectWatch
from vmpooler_tasks.providers.vsphere.options import VspherePool
from vmpooler_tasks.providers.vsphere.places import Places

REMEMBERED_VMS = 10_000
"""VMs whose references are remembered: a check of one then costs one call."""

OVER = frozenset({"success", "error"})


class Machines:
    """VMs in the folders of pools. A remembered reference counts only if name and folder are still those."""

    def __init__(self, session: VcenterSession, places: Places, task_seconds: float) -> None:
        self._session, self._places, self._task_seconds = session, places, task_seconds
        self._tasks = ObjectWatch(session, vim.Task, ["info.state", "info.result", "info.error"])
        self._lock = threading.Lock()
        self._refs: LRUCache[tuple[str, str], Any] = LRUCache(REMEMBERED_VMS)

    def find(self, options: VspherePool, vm: str, paths: Sequence[str]) -> FoundObject | None:
        """Return the VM with these properties; None if the folder certainly has no VM of this name."""
        try:
            return self._find(options, vm, paths)
        except VmNotFoundError:  # the folder was replaced by another one of the same path
            self._places.forget()
            return self._find(options, vm, paths)

    def require(self, options: VspherePool, vm: str, paths: Sequence[str]) -> FoundObject:
        """Return the VM. Raise VmNotFoundError if there is none."""
        found = self.find(options, vm, paths)
        if found is None:
            raise VmNotFoundError("the VM does not exist")
        return found

    def remember(self, options: VspherePool, vm: str, ref: Any) -> None:
        folder = self._places.folder(options)
        with self._lock:
            self._refs[id_of(folder), vm] = ref

    def run(self, managed: Any, method: str, *arguments: Any, **named: Any) -> Any:
        """Start a task, wait for its end and return its result. Raise its fault as a ProviderError."""
        task = self._session.call(managed, method, *arguments, **named)
        try:
            found, done = self._tasks.wait(task, lambda found: found.get("info.state") in OVER, self._task_seconds)
        except VmNotFoundError as error:
            raise TransientProviderError("the vCenter does not know the task any more") from error
        if found is None or not done:
            raise TransientProviderError(f"the task {method} did not end within {self._task_seconds:g} s")
        if found.get("info.state") == "error":
            raise error_of(found.get("info.error"))
        return found.get("info.result")

    def _find(self, options: VspherePool, vm: str, paths: Sequence[str]) -> FoundObject | None:
        folder = self._places.folder(options)
        with self._lock:
            ref = self._refs.get((id_of(folder), vm))
        if ref is not None:
            found = self._read(ref, paths)
            if found is not None and (found.get("name"), found.get("parent")) == (vm, folder):
                return found
            with self._lock:
                self._refs.pop((id_of(folder), vm), None)
        ref = self._session.call(self._session.content.searchIndex, "FindChild", folder, vm)
        if not isinstance(ref, vim.VirtualMachine):
            return None
        found = self._read(ref, paths)
        if found is not None:
            with self._lock:
                self._refs[id_of(folder), vm] = ref
        return found

    def _read(self, ref: Any, paths: Sequence[str]) -> FoundObject | None:
        found = read_objects(self._session, [ref], vim.VirtualMachine, ["name", "parent", *paths])
        return found.get(id_of(ref))
