"""Tries what the options name and what the login may do, and changes nothing."""

from collections.abc import Iterator, Sequence
from typing import Any

from pyVmomi import vim

from vmpooler_tasks.errors import PermanentProviderError, ProviderError
from vmpooler_tasks.providers.protocol import PoolSpec, ProviderProblem
from vmpooler_tasks.providers.vsphere.api.properties import read_objects
from vmpooler_tasks.providers.vsphere.api.references import id_of
from vmpooler_tasks.providers.vsphere.api.session import VcenterSession
from vmpooler_tasks.providers.vsphere.options import CloneDefaults, VspherePool
from vmpooler_tasks.providers.vsphere.places import Places

FOLDER_PRIVILEGES = (
    "VirtualMachine.Inventory.CreateFromExisting",
    "VirtualMachine.Inventory.Delete",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Config.Annotation",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.AddNewDisk",
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.RemoveDisk",
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.State.RevertToSnapshot",
)
"""On the pool's folder and what is in it."""

MAKE_FOLDER, CONNECT_CARD = "Folder.Create", "VirtualMachine.Config.EditDevice"
CLONE_FROM_TEMPLATE, CLONE_FROM_VM = "VirtualMachine.Provisioning.DeployTemplate", "VirtualMachine.Provisioning.Clone"
USE_POOL, USE_DATASTORE, USE_NETWORK = "Resource.AssignVMToPool", "Datastore.AllocateSpace", "Network.Assign"


class Checks:
    """Finds the problems of all pools of a provider."""

    def __init__(self, session: VcenterSession, places: Places, defaults: CloneDefaults) -> None:
        self._session, self._places, self._defaults = session, places, defaults

    def find_problems(self, pools: Sequence[PoolSpec]) -> list[ProviderProblem]:
        """Return the problems of all pools. A login that fails is the only one: nothing else can be tried."""
        try:
            self._session.content  # noqa: B018 - it logs in
        except PermanentProviderError as error:
            return [ProviderProblem(text=f"the login fails: {error}")]
        self._places.forget()
        return [ProviderProblem(text=text, pool=pool.name) for pool in pools for text in self._problems_of(pool)]

    def _problems_of(self, pool: PoolSpec) -> Iterator[str]:
        try:
            options = VspherePool.of(pool)
            self._places.datacenter(options)
        except ProviderError as error:
            yield str(error)
            return
        needed: list[tuple[str, Any, tuple[str, ...]]] = []
        for find in (self._folder, self._template, self._cluster, self._datastore, self._network):
            try:
                needed += find(pool, options)
            except ProviderError as error:
                yield str(error)
        try:
            yield from self._missing_privileges(needed)
        except ProviderError as error:
            yield f"the privileges cannot be read: {error}"

    def _folder(self, _: PoolSpec, options: VspherePool) -> list[tuple[str, Any, tuple[str, ...]]]:
        folder = self._places.find_folder(options)
        privileges = FOLDER_PRIVILEGES + ((CONNECT_CARD,) if options.network else ())
        if folder is not None:
            return [(f"folder {options.folder}", folder, privileges)]
        if not self._defaults.create_folders:
            self._places.folder(options)  # raises with the reason
        root = self._places.datacenter(options).require("vmFolder")
        return [("the datacenter's folder of VMs", root, (MAKE_FOLDER, *privileges))]

    def _template(self, pool: PoolSpec, options: VspherePool) -> list[tuple[str, Any, tuple[str, ...]]]:
        template = self._places.template(pool, options)
        found = read_objects(self._session, [template], vim.VirtualMachine, ["config.template"])
        is_template = any(each.get("config.template") for each in found.values())
        return [(f"template {pool.template}", template, (CLONE_FROM_TEMPLATE if is_template else CLONE_FROM_VM,))]

    def _cluster(self, pool: PoolSpec, options: VspherePool) -> list[tuple[str, Any, tuple[str, ...]]]:
        cluster = self._places.cluster(pool, options)
        name = pool.clone_target or "the only cluster"
        return [(f"resource pool of {name}", cluster.resource_pool, (USE_POOL,))]

    def _datastore(self, _: PoolSpec, options: VspherePool) -> list[tuple[str, Any, tuple[str, ...]]]:
        if options.datastore is None:
            return []
        ref = self._places.datastore(options, options.datastore)
        for found in read_objects(self._session, [ref], vim.Datastore, ["summary"]).values():
            summary = found.require("summary")
            if not summary.accessible:
                raise PermanentProviderError(f"datastore {options.datastore} is not accessible")
            if (summary.maintenanceMode or "normal") != "normal":
                raise PermanentProviderError(f"datastore {options.datastore} is in maintenance mode")
            if summary.freeSpace <= 0:
                raise PermanentProviderError(f"datastore {options.datastore} is full")
        return [(f"datastore {options.datastore}", ref, (USE_DATASTORE,))]

    def _network(self, _: PoolSpec, options: VspherePool) -> list[tuple[str, Any, tuple[str, ...]]]:
        if options.network is None:
            return []
        return [(f"network {options.network}", self._places.network(options, options.network), (USE_NETWORK,))]

    def _missing_privileges(self, needed: Sequence[tuple[str, Any, tuple[str, ...]]]) -> Iterator[str]:
        """Yield a line for each object on which the login lacks privileges, with their names. It is one call."""
        if not needed:
            return
        held = self._session.call(
            self._session.content.authorizationManager,
            "FetchUserPrivilegeOnEntities",
            [ref for _, ref, _ in needed],
            self._session.username,
        )
        by_id = {id_of(each.entity): set(each.privileges) for each in held}
        for what, ref, privileges in needed:
            missing = [name for name in privileges if name not in by_id.get(id_of(ref), set())]
            if missing:
                yield f"the login lacks privileges on {what}: {', '.join(missing)}"
