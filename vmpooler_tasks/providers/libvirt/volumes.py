"""The volumes of a VM. Each function is a step on a host: its first argument is the connection."""

from string import ascii_lowercase
from typing import Any, NamedTuple

import libvirt

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.libvirt import definitions
from vmpooler_tasks.providers.libvirt.definitions import Disk, Volume
from vmpooler_tasks.providers.libvirt.errors.faults import has_code

FOLDERS = frozenset({"dir", "fs", "netfs", "gluster"})
"""Types of storage pools whose volumes are files, as a qcow2 image has to be."""

GIGABYTE = 1024**3

MAX_SERIAL_LENGTH = 20
"""Maximum length of the serial number of a disk of virtio, which shows its name in the guest."""


class Backing(NamedTuple):
    """The image of a template on which an image of a clone is based: its path, format and virtual size."""

    path: str
    format: str
    capacity_bytes: int


def volume_name(installation: str, vm: str, part: str) -> str:
    """Return the name of the volume for this part of the VM: a target such as vda, or the name of a disk.

    It carries the mark: a volume has no metadata.
    """
    return ".".join(filter(None, (vm, part, installation, "qcow2")))


def folder_of(connection: Any, storage_pool: str) -> str:
    """Return the folder of the storage pool. Raise PermanentProviderError if its volumes are no files."""
    definition = connection.storagePoolLookupByName(storage_pool).XMLDesc()
    kind, path = definitions.storage_type(definition), definitions.storage_path(definition)
    if kind not in FOLDERS or not path:
        raise PermanentProviderError(
            f"storage pool {storage_pool} has type {kind}, whose volumes are no files: use one of type dir"
        )
    return path


def backing_of(connection: Any, template: Any, disk: Disk) -> Backing:
    """Return the image of a disk of the template domain."""
    if disk.volume:
        storage = connection.storagePoolLookupByName(disk.volume.storage_pool)
        volume = storage.storageVolLookupByName(disk.volume.name)
        return Backing(volume.path(), disk.format, volume.info()[1])
    try:
        return Backing(str(disk.path), disk.format, connection.storageVolLookupByPath(disk.path).info()[1])
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            raise
    return Backing(str(disk.path), disk.format, template.blockInfo(disk.path)[0])  # the file is in no storage pool


def copyable_image_of(connection: Any, disk: Disk) -> Any:
    """Return the volume that is the image of a disk. Raise PermanentProviderError for one in no storage pool."""
    if disk.volume:
        return connection.storagePoolLookupByName(disk.volume.storage_pool).storageVolLookupByName(disk.volume.name)
    try:
        return connection.storageVolLookupByPath(disk.path)
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            raise
    raise PermanentProviderError(
        f"disk {disk.target} of the template is in no storage pool that is active, so that libvirt cannot copy it: "
        "virsh pool-define-as, or virsh pool-refresh if the file is new"
    )


def has_volume(connection: Any, volume: Volume) -> bool:
    try:
        connection.storagePoolLookupByName(volume.storage_pool).storageVolLookupByName(volume.name)
    except libvirt.libvirtError as error:
        if has_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            return False
        raise
    return True


def make_volume(connection: Any, volume: Volume, capacity_bytes: int, backing: Backing | None = None) -> None:
    """Make the volume, unless it exists: the caller has made sure that it is one of this VM."""
    based_on = (backing.path, backing.format) if backing else None
    definition = definitions.volume_definition(volume.name, capacity_bytes, based_on)
    if not has_volume(connection, volume):
        connection.storagePoolLookupByName(volume.storage_pool).createXML(definition)


def copy_volume(connection: Any, volume: Volume, disk: Disk) -> None:
    """Make the volume as a full copy of a disk of the template. That takes minutes for a large one."""
    image = copyable_image_of(connection, disk)
    definition = definitions.volume_definition(volume.name, image.info()[1])
    connection.storagePoolLookupByName(volume.storage_pool).createXMLFrom(definition, image)


def delete_volume(connection: Any, volume: Volume) -> None:
    """Delete the volume, if it is there."""
    try:
        storage = connection.storagePoolLookupByName(volume.storage_pool)
        storage.storageVolLookupByName(volume.name).delete()
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            raise


def attach_new_disk(domain: Any, volume: Volume, disk: str, size_gb: int) -> None:
    """Make the volume, and attach it to the domain as one more disk. The mark of the domain lists it already."""
    connection, definition = domain.connect(), domain.XMLDesc()
    path = f"{folder_of(connection, volume.storage_pool)}/{volume.name}"
    if path in definitions.image_paths(definition):
        return
    make_volume(connection, volume, size_gb * GIGABYTE)
    bus, target = _free_target(definition)
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | (libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0)
    domain.attachDeviceFlags(definitions.disk_definition(target, bus, path, disk[:MAX_SERIAL_LENGTH]), flags)


def has_disk(domain: Any, name: str) -> bool:
    """Return whether a disk of the domain has the volume of this name as its image."""
    return any(path.rpartition("/")[2] == name for path in definitions.image_paths(domain.XMLDesc()))


def _free_target(definition: str) -> tuple[str, str]:
    """Return the bus and the target of one more disk. SCSI is used if the VM has it, else virtio."""
    taken = definitions.all_targets(definition)
    bus, letters = ("scsi", "sd") if "scsi" in definitions.buses(definition) else ("virtio", "vd")
    free = next((f"{letters}{letter}" for letter in ascii_lowercase if f"{letters}{letter}" not in taken), None)
    if free is None:
        raise PermanentProviderError(f"the VM has {len(ascii_lowercase)} disks, and cannot have more")
    return bus, free
