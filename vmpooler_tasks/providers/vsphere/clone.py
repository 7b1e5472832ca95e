"""Clones templates, linked or in full, and gives a template's disks a layer to link to."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from pyVmomi import vim

from vmpooler_tasks.errors import PermanentProviderError, VmNotFoundError
from vmpooler_tasks.providers.protocol import PoolSpec
from vmpooler_tasks.providers.vsphere.api.properties import read_objects
from vmpooler_tasks.providers.vsphere.api.references import id_of
from vmpooler_tasks.providers.vsphere.api.session import VcenterSession
from vmpooler_tasks.providers.vsphere.hosts import HostChooser
from vmpooler_tasks.providers.vsphere.machines import Machines
from vmpooler_tasks.providers.vsphere.marks import new_annotation
from vmpooler_tasks.providers.vsphere.options import CloneDefaults, VspherePool
from vmpooler_tasks.providers.vsphere.places import Places

logger = logging.getLogger(__name__)

LINKED, FULL = "moveChildMostDiskBacking", "moveAllDiskBackingsAndConsolidate"
"""How the disks of the template come to the clone: their newest layer alone, or everything."""


class Cloner:
    """Makes VMs from the templates of pools."""

    def __init__(
        self, session: VcenterSession, places: Places, machines: Machines, hosts: HostChooser, defaults: CloneDefaults
    ) -> None:
        self._session, self._places, self._machines = session, places, machines
        self._hosts, self._defaults = hosts, defaults
        self._lock = threading.Lock()
        self._prepared: set[str] = set()

    def clone(self, pool: PoolSpec, options: VspherePool, vm: str, username: str, installation: str) -> Any:
        """Clone the pool's template and return the new VM. Raise DuplicateNameError if the folder has that name."""
        annotation = new_annotation(
            vm=vm, pool=pool.name, template=pool.template or "", username=username, installation=installation
        )
        try:
            return self._clone(pool, options, vm, annotation)
        except VmNotFoundError:  # the template, or another object that was remembered, has been replaced
            self._places.forget()
        try:
            return self._clone(pool, options, vm, annotation)
        except VmNotFoundError as error:
            raise PermanentProviderError(str(error)) from error

    def _clone(self, pool: PoolSpec, options: VspherePool, vm: str, annotation: str) -> Any:
        template, folder = self._places.template(pool, options), self._places.folder(options)
        if self._defaults.create_template_delta_disks and self._is_linked(options):
            self._prepare(template)
        spec = self._build(pool, options, template, vm, annotation)
        made = self._machines.run(template, "CloneVM_Task", folder, vm, spec)
        self._machines.remember(options, vm, made)
        return made

    def _prepare(self, template: Any) -> None:
        """Put a layer on the template's disks, once. Without it, a linked clone is a full copy: that is no error."""
        key = id_of(template)
        with self._lock:  # one thread prepares it, the others wait
            if key in self._prepared:
                return
            self._prepared.add(key)
            found = read_objects(self._session, [template], vim.VirtualMachine, ["config.hardware.device"])
            changes = delta_layers(found[key].require("config.hardware.device")) if found else []
            if not changes:
                return
            try:
                self._machines.run(template, "ReconfigVM_Task", vim.vm.ConfigSpec(deviceChange=changes))
            except PermanentProviderError as error:
                logger.warning("create_template_delta_disks: the template stays as it is: %s", error)

    def _build(self, pool: PoolSpec, options: VspherePool, template: Any, vm: str, annotation: str) -> Any:
        """Return the specification of a VM that is switched on as soon as it exists."""
        config = vim.vm.ConfigSpec(annotation=annotation, extraConfig=_as_options(vm, options.extra_config))
        if options.network is not None:
            config.deviceChange = [self._network(options, template)]
        return vim.vm.CloneSpec(location=self._location(pool, options), config=config, powerOn=True, template=False)

    def _is_linked(self, options: VspherePool) -> bool:
        """Return whether the pool's clones are linked to their template."""
        chosen = options.create_linked_clone
        return self._defaults.create_linked_clones if chosen is None else chosen

    def _location(self, pool: PoolSpec, options: VspherePool) -> Any:
        cluster = self._places.cluster(pool, options)
        location = vim.vm.RelocateSpec(
            pool=cluster.resource_pool, diskMoveType=LINKED if self._is_linked(options) else FULL
        )
        if options.datastore is not None:
            location.datastore = self._places.datastore(options, options.datastore)
        if self._defaults.manage_host_selection:
            location.host = self._hosts.next_of(cluster)
        return location

    def _network(self, options: VspherePool, template: Any) -> Any:
        """Return the change that connects the first network card of the template to the pool's network."""
        network = self._places.network(options, str(options.network))
        found = read_objects(self._session, [template], vim.VirtualMachine, ["config.hardware.device"])
        devices = found[id_of(template)].require("config.hardware.device") if found else ()
        card = next((each for each in devices if isinstance(each, vim.vm.device.VirtualEthernetCard)), None)
        if card is None:
            raise PermanentProviderError("the template has no network card to connect to the pool's network")
        changed = type(card)(key=card.key, backing=self._backing(network, str(options.network)))
        changed.deviceInfo = vim.Description(label=card.deviceInfo.label, summary=options.network)
        changed.addressType = "assigned"
        changed.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
            allowGuestControl=True, startConnected=True, connected=True
        )
        return vim.vm.device.VirtualDeviceSpec(operation="edit", device=changed)

    def _backing(self, network: Any, name: str) -> Any:
        if not isinstance(network, vim.dvs.DistributedVirtualPortgroup):
            return vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(
                deviceName=name, network=network, useAutoDetect=False
            )
        found = read_objects(self._session, [network], vim.dvs.DistributedVirtualPortgroup, ["key", "config"])
        group = found[id_of(network)]
        switch = group.require("config").distributedVirtualSwitch
        uuid = read_objects(self._session, [switch], vim.DistributedVirtualSwitch, ["uuid"])
        port = vim.dvs.PortConnection(
            portgroupKey=group.require("key"),
            switchUuid=uuid[id_of(switch)].require("uuid"),
        )
        return vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)


def delta_layers(devices: list[Any]) -> list[Any]:
    """Return the changes that put an empty layer on each disk that has none: a linked clone shares what is below it."""
    changes = []
    for disk in devices:
        backing = disk.backing if isinstance(disk, vim.vm.device.VirtualDisk) else None
        if backing is None or getattr(backing, "parent", None) is not None or not getattr(backing, "fileName", None):
            continue
        store = backing.fileName.partition("]")[0] + "]"
        layer = type(backing)(fileName=store, diskMode=backing.diskMode, parent=backing)
        added = vim.vm.device.VirtualDisk(
            key=disk.key,
            controllerKey=disk.controllerKey,
            unitNumber=disk.unitNumber,
            capacityInKB=disk.capacityInKB,
            backing=layer,
        )
        changes += [
            vim.vm.device.VirtualDeviceSpec(operation="remove", device=disk),
            vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=added),
        ]
    return changes


def _as_options(vm: str, extra: Mapping[str, str]) -> list[Any]:
    return [vim.option.OptionValue(key=key, value=value) for key, value in {"guestinfo.hostname": vm, **extra}.items()]
