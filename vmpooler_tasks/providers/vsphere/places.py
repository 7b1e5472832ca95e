"""Finds what the configuration names: datacenter, template, folder, cluster, datastore, network.

What was found is remembered for a minute, so that a clone costs no search, and a template that was replaced under its
path is noticed.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cachetools import TTLCache
from pyVmomi import vim

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.protocol import PoolSpec
from vmpooler_tasks.providers.vsphere.api.faults import DuplicateNameError
from vmpooler_tasks.providers.vsphere.api.properties import FoundObject, read_below, read_objects
from vmpooler_tasks.providers.vsphere.api.references import id_of
from vmpooler_tasks.providers.vsphere.api.session import VcenterSession
from vmpooler_tasks.providers.vsphere.options import CloneDefaults, VsphereOptions, VspherePool

REMEMBERED_PLACES, REMEMBERED_SECONDS = 4096, 60


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, or a host of its own: its root resource pool and its hosts."""

    ref: Any
    resource_pool: Any
    hosts: tuple[Any, ...]


class Places:
    """Finds the objects that the options of a pool name. A missing one raises PermanentProviderError with its name."""

    def __init__(self, session: VcenterSession, options: VsphereOptions, defaults: CloneDefaults) -> None:
        self._session, self._options, self._defaults = session, options, defaults
        self._lock = threading.Lock()
        self._found: TTLCache[tuple[str, ...], Any] = TTLCache(REMEMBERED_PLACES, REMEMBERED_SECONDS)

    def forget(self) -> None:
        """Search everything again: one of the objects does not exist any more."""
        with self._lock:
            self._found.clear()

    def datacenter(self, options: VspherePool) -> FoundObject:
        """Return the datacenter of the pool, else that of the provider, else the only one."""
        name = options.datacenter or self._options.datacenter or ""
        found: FoundObject = self._remembered(("datacenter", name), lambda: self._find_datacenter(name.strip("/")))
        return found

    def template(self, pool: PoolSpec, options: VspherePool) -> Any:
        path = (pool.template or "").strip("/")
        if not path:
            raise PermanentProviderError(f"pool {pool.name} has no template")
        found = self._find_path(options, path)
        if not isinstance(found, vim.VirtualMachine):
            raise PermanentProviderError(f"template {path} does not exist, or the login may not see it")
        return found

    def folder(self, options: VspherePool) -> Any:
        """Return the folder of the pool's VMs. With `create_folders`, make it if it does not exist."""
        found = self._find_path(options, options.folder)
        if found is None and self._defaults.create_folders:
            found = self._make_folder(options)
        if not isinstance(found, vim.Folder):
            raise PermanentProviderError(f"folder {options.folder} does not exist, or the login may not see it")
        return found

    def find_folder(self, options: VspherePool) -> Any:
        """Return the folder of the pool's VMs; None if it does not exist."""
        found = self._find_path(options, options.folder)
        return found if isinstance(found, vim.Folder) else None

    def cluster(self, pool: PoolSpec, options: VspherePool) -> Cluster:
        """Return the pool's `clone_target`: a cluster or a single host. Without one, the only cluster."""
        datacenter = self.datacenter(options)
        clusters: dict[str, Cluster] = self._remembered(
            ("clusters", datacenter.require("name")), lambda: self._find_clusters(datacenter)
        )
        name = pool.clone_target
        if name is None and len(clusters) == 1:
            return next(iter(clusters.values()))
        if name is None or name not in clusters:
            known = ", ".join(sorted(clusters)) or "none"
            what = f"clone_target {name} does not exist" if name else f"pool {pool.name} has no clone_target"
            raise PermanentProviderError(f"{what} (clusters and hosts that the login may see: {known})")
        return clusters[name]

    def datastore(self, options: VspherePool, name: str) -> Any:
        return self._named(options, "datastore", name)

    def network(self, options: VspherePool, name: str) -> Any:
        return self._named(options, "network", name)

    def _remembered(self, key: tuple[str, ...], search: Callable[[], Any]) -> Any:
        with self._lock:
            found = self._found.get(key)
        if found is None:
            found = search()
            if found is not None:
                with self._lock:
                    self._found[key] = found
        return found

    def _find_datacenter(self, name: str) -> FoundObject:
        known = read_below(
            self._session,
            self._session.content.rootFolder,
            vim.Datacenter,
            ["name", "vmFolder", "hostFolder", "datastore", "network"],
        )
        chosen = [each for each in known if each.require("name") == name.rsplit("/", 1)[-1]] if name else known
        if len(chosen) != 1:
            names = ", ".join(sorted(each.require("name") for each in known)) or "none"
            what = f"datacenter {name} does not exist" if name else "the option datacenter is missing"
            raise PermanentProviderError(f"{what} (datacenters that the login may see: {names})")
        return chosen[0]

    def _find_path(self, options: VspherePool, path: str) -> Any:
        """Return what is at this path below the datacenter's folder of VMs; None if there is nothing."""
        datacenter = self.datacenter(options)
        key = ("path", id_of(datacenter.ref), path)
        return self._remembered(key, lambda: self._walk(datacenter.require("vmFolder"), path))

    def _walk(self, start: Any, path: str) -> Any:
        found = start
        for step in path.split("/"):
            found = self._session.call(self._session.content.searchIndex, "FindChild", found, step)
            if found is None:
                return None
        return found

    def _make_folder(self, options: VspherePool) -> Any:
        found = self.datacenter(options).require("vmFolder")
        for step in options.folder.split("/"):
            child = self._session.call(self._session.content.searchIndex, "FindChild", found, step)
            if child is None:
                try:
                    child = self._session.call(found, "CreateFolder", step)
                except DuplicateNameError:  # another worker made it, or the login may not see it
                    child = self._session.call(self._session.content.searchIndex, "FindChild", found, step)
            if not isinstance(child, vim.Folder):
                return child
            found = child
        return found

    def _find_clusters(self, datacenter: FoundObject) -> dict[str, Cluster]:
        found = read_below(
            self._session, datacenter.require("hostFolder"), vim.ComputeResource, ["name", "resourcePool", "host"]
        )
        return {
            each.require("name"): Cluster(each.ref, each.require("resourcePool"), tuple(each.get("host") or ()))
            for each in found
        }

    def _named(self, options: VspherePool, kind: str, name: str) -> Any:
        datacenter = self.datacenter(options)
        names: dict[str, Any] = self._remembered(
            (kind, datacenter.require("name")), lambda: self._read_names(datacenter, kind)
        )
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise PermanentProviderError(f"{kind} {name} does not exist (those that the login may see: {known})")
        return names[name]

    def _read_names(self, datacenter: FoundObject, kind: str) -> dict[str, Any]:
        refs = list(datacenter.get(kind) or ())
        base = vim.Datastore if kind == "datastore" else vim.Network
        found = read_objects(self._session, refs, base, ["name"])
        return {each.require("name"): each.ref for each in found.values()}
