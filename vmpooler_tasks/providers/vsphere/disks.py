"""Disks of a VM: adds one that can be found by its name, and finds those that are not its own."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pyVmomi import vim

from vmpooler_tasks.errors import PermanentProviderError

RESERVED_UNIT, BUS_UNITS = 7, 16
"""The number of the controller itself on its bus, and how many a bus has."""

MAX_CONTROLLERS = 4

NEW_DISK, NEW_CONTROLLER = -1, -2
"""Keys of devices that do not exist yet."""


def has_disk(devices: Sequence[Any], disk: str) -> bool:
    """Return whether one of the devices is the disk of this name, also below the layers that snapshots put on it."""
    name = f"/{_file_name(disk)}"
    return any(file.endswith(name) for device in devices for file in _files(device))


def added_disk(devices: Sequence[Any], vm_path: str, disk: str, size_gb: int) -> list[Any]:
    """Return the changes that add a thin disk in the VM's own directory.

    `vm_path` is the file of the VM's configuration, `[datastore] directory/name.vmx`.
    """
    file = f"{vm_path.rpartition('/')[0]}/{_file_name(disk)}"
    controller, unit, changes = _free_place(devices)
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=file, diskMode="persistent", thinProvisioned=True)
    added = vim.vm.device.VirtualDisk(
        key=NEW_DISK,
        controllerKey=controller,
        unitNumber=unit,
        capacityInKB=size_gb * 2**20,
        backing=backing,
    )
    return [*changes, vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=added)]


def foreign_disks(devices: Sequence[Any], vm_path: str) -> list[Any]:
    """Return the changes that detach disks outside the VM's own directory. Its destruction would delete them."""
    directory = _directory(vm_path)
    return [
        vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)
        for device in devices
        if isinstance(device, vim.vm.device.VirtualDisk)
        and (file := getattr(device.backing, "fileName", None))
        and _directory(file) != directory
    ]


def _directory(path: str) -> str:
    """Return the directory of a file in a datastore. Storage DRS moves files to another datastore, not directory."""
    return path.partition("] ")[2].rpartition("/")[0]


def _file_name(disk: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", disk) + ".vmdk"


def _files(device: Any) -> Iterator[str]:
    backing = device.backing if isinstance(device, vim.vm.device.VirtualDisk) else None
    while backing is not None:
        yield getattr(backing, "fileName", None) or ""
        backing = getattr(backing, "parent", None)


def _free_place(devices: Sequence[Any]) -> tuple[int, int, list[Any]]:
    """Return controller and unit number for a new disk, and the change that adds a controller if all are full."""
    controllers = [each for each in devices if isinstance(each, vim.vm.device.VirtualSCSIController)]
    for controller in controllers:
        used = {each.unitNumber for each in devices if each.controllerKey == controller.key}
        free = sorted(set(range(BUS_UNITS)) - used - {RESERVED_UNIT})
        if free:
            return controller.key, free[0], []
    if len(controllers) >= MAX_CONTROLLERS:
        raise PermanentProviderError("the VM has no place for another disk: its SCSI controllers are full")
    buses = {each.busNumber for each in controllers}
    added = vim.vm.device.ParaVirtualSCSIController(
        key=NEW_CONTROLLER,
        busNumber=min(set(range(MAX_CONTROLLERS)) - buses),
        sharedBus="noSharing",
    )
    return NEW_CONTROLLER, 0, [vim.vm.device.VirtualDeviceSpec(operation="add", device=added)]
