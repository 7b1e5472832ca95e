"""The definition of a domain: what a clone takes over from its template, and the mark of a VM. No call of libvirt."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self
from uuid import uuid4

# The text is libvirt's own, and expat (2.4.1 and newer) limits what entities expand to.
from xml.etree import ElementTree as ET

from vmpooler_tasks.errors import PermanentProviderError

NAMESPACE = "urn:vmpooler-tasks:vm"

METADATA_PREFIX = "vmpooler"
"""The prefix of the namespace in a definition."""

COPIED = {"yes": True, "no": False}

SHARED = ("readonly", "shareable")
"""Elements of a disk that its clones share with the template."""


class Volume(NamedTuple):
    """A volume, by the name of its storage pool and its own."""

    storage_pool: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a domain's metadata says: its pool, the installation that made it, and the volumes that were made for it.

    `vm` is the name of the domain that was marked: a copy of a domain has a copy of its metadata. `copied` is None if
    the volumes are based on those of the template. Else they are full copies, and it says whether these are complete.
    """

    vm: str
    pool: str
    installation: str | None = None
    volumes: tuple[Volume, ...] = field(default=())
    copied: bool | None = None

    @classmethod
    def from_xml(cls, text: str) -> Self:
        root = _parsed(text)
        volumes = tuple(
            Volume(child.get("storage_pool", ""), child.get("name", ""))
            for child in root
            if child.tag.rpartition("}")[2] == "volume"
        )
        vm, pool = root.get("name", ""), root.get("pool", "")
        installation, copied = root.get("installation") or None, COPIED.get(root.get("copied", ""))
        return cls(vm=vm, pool=pool, installation=installation, volumes=volumes, copied=copied)

    def to_xml(self) -> str:
        return ET.tostring(self.element(), encoding="unicode")

    def element(self, namespace: str = "") -> ET.Element:
        """Return the element, in this namespace."""
        tag = f"{{{namespace}}}" if namespace else ""
        root = ET.Element(f"{tag}vm", name=self.vm, pool=self.pool)
        if self.installation:
            root.set("installation", self.installation)
        if self.copied is not None:
            root.set("copied", "yes" if self.copied else "no")
        for volume in self.volumes:
            ET.SubElement(root, f"{tag}volume", storage_pool=volume.storage_pool, name=volume.name)
        return root

    def with_volume(self, volume: Volume) -> "Mark":
        return self if volume in self.volumes else replace(self, volumes=(*self.volumes, volume))


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk of a domain: `path` of its image, or `volume`; `format` of the image; `target` in the VM, and its bus."""

    target: str
    bus: str = "virtio"
    format: str = "raw"
    path: str | None = None
    volume: Volume | None = None


def own_disks(definition: str) -> list[Disk]:
    """Return the disks that each clone has of its own: not CD-ROMs, and nothing that is read-only or shareable.

    Raise PermanentProviderError for one that is neither a file, a device nor a volume.
    """
    return [_disk(element) for element in _parsed(definition).iterfind("devices/disk") if _is_own(element)]


def all_targets(definition: str) -> set[str]:
    """Return the targets of all disks, such as vda."""
    return {target.get("dev", "") for target in _parsed(definition).iterfind("devices/disk/target")}


def buses(definition: str) -> set[str]:
    """Return the buses of all hard disks, such as virtio."""
    disks = _parsed(definition).iterfind("devices/disk[@device='disk']/target")
    return {target.get("bus", "") for target in disks}


def image_paths(definition: str) -> set[str]:
    """Return the paths of the images of all disks."""
    return {source.get("file", "") for source in _parsed(definition).iterfind("devices/disk/source")} - {""}


def macs(definition: str) -> set[str]:
    """Return the MAC addresses of the network interfaces, in lowercase."""
    return {mac.get("address", "").lower() for mac in _parsed(definition).iterfind("devices/interface/mac")}


def networks(definition: str) -> set[str]:
    """Return the names of libvirt's networks to which the domain is connected."""
    return {source.get("network", "") for source in _parsed(definition).iterfind("devices/interface/source")} - {""}


def memory_kib(definition: str) -> int:
    """Return the memory that the domain may use. libvirt writes it in KiB."""
    return int(_parsed(definition).findtext("memory") or 0)


def clone_definition(
    template: str, *, name: str, mark: Mark, images: Mapping[str, str], with_cloud_init: bool = False
) -> str:
    """Return the definition of a clone. `images`: target of each own disk → path of its new qcow2 image.

    What has to be unique is left out, and libvirt makes it: UUID, MAC addresses, the variables of UEFI, the paths of
    sockets, and the ports of displays.
    """
    root = _parsed(template)
    root.attrib.pop("id", None)
    _remove(root, "uuid", "title")
    _set_text(root, "name", name)
    _set_mark(root, mark)
    for nvram in root.iterfind("os/nvram"):
        nvram.text = None
        nvram.attrib.pop("type", None)
        _remove(nvram, "source")
    for genid in root.iterfind("genid"):
        genid.text = None
    devices = root.find("devices")
    for device in devices if devices is not None else ():
        _make_unique(device)
        target = device.find("target")
        if device.tag == "disk" and target is not None and (image := images.get(target.get("dev", ""))):
            _set_image(device, image)
    if with_cloud_init:
        _set_serial(root, f"ds=nocloud;h={name};i={name}")
    return ET.tostring(root, encoding="unicode")


def rival_definition(definition: str) -> str:
    """Return a definition that libvirt refuses as long as the domain exists: its name with another UUID."""
    known = _parsed(definition)
    root = ET.Element("domain", type=known.get("type", ""))
    for tag, text in (("name", known.findtext("name")), ("uuid", str(uuid4())), ("memory", "1024")):
        ET.SubElement(root, tag).text = text
    kind = known.find("os/type")
    if kind is not None:
        ET.SubElement(root, "os").append(kind)
    return ET.tostring(root, encoding="unicode")


def disk_definition(target: str, bus: str, path: str, serial: str) -> str:
    """Return the definition of a disk to attach."""
    root = ET.Element("disk", type="file", device="disk")
    ET.SubElement(root, "driver", name="qemu", type="qcow2")
    ET.SubElement(root, "source", file=path)
    ET.SubElement(root, "target", dev=target, bus=bus)
    ET.SubElement(root, "serial").text = serial
    return ET.tostring(root, encoding="unicode")


def volume_definition(name: str, capacity_bytes: int, backing: tuple[str, str] | None = None) -> str:
    """Return the definition of a qcow2 volume. `backing`: path and format of the image on which it is based."""
    root = ET.Element("volume")
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "capacity", unit="bytes").text = str(capacity_bytes)
    ET.SubElement(ET.SubElement(root, "target"), "format", type="qcow2")
    if backing:
        store = ET.SubElement(root, "backingStore")
        ET.SubElement(store, "path").text = backing[0]
        ET.SubElement(store, "format", type=backing[1])
    return ET.tostring(root, encoding="unicode")


def snapshot_definition(name: str) -> str:
    root = ET.Element("domainsnapshot")
    ET.SubElement(root, "name").text = name
    return ET.tostring(root, encoding="unicode")


def storage_path(definition: str) -> str | None:
    """Return the folder of a storage pool; None if it has none."""
    return _parsed(definition).findtext("target/path")


def storage_type(definition: str) -> str:
    return _parsed(definition).get("type", "")


def _parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - see the import


def _is_own(disk: ET.Element) -> bool:
    return disk.get("device", "disk") == "disk" and not any(disk.find(tag) is not None for tag in SHARED)


def _disk(element: ET.Element) -> Disk:
    source, target, driver = element.find("source"), element.find("target"), element.find("driver")
    where = source.attrib if source is not None else {}
    to = target.attrib if target is not None else {}
    path = where.get("file") or where.get("dev")
    volume = Volume(where["pool"], where["volume"]) if "volume" in where and "pool" in where else None
    if not path and not volume:
        kind = element.get("type", "file")
        raise PermanentProviderError(f"disk {to.get('dev')} of the template cannot be cloned: its type is {kind}")
    image_format = driver.get("type", "raw") if driver is not None else "raw"
    return Disk(target=to.get("dev", ""), bus=to.get("bus", "virtio"), format=image_format, path=path, volume=volume)


def _make_unique(device: ET.Element) -> None:
    """Remove from a device what no second domain can have."""
    _remove(device, "alias")
    if device.tag == "interface":
        _remove(device, "mac", "target")
    if device.tag == "graphics" and device.get("type") in ("vnc", "spice"):
        for attribute in ("port", "tlsPort", "websocket", "socket"):
            device.attrib.pop(attribute, None)
        device.set("autoport", "yes")
    source = device.find("source")
    if device.tag == "channel" and device.get("type") == "unix" and source is not None:
        source.attrib.pop("path", None)


def _set_image(disk: ET.Element, path: str) -> None:
    disk.set("type", "file")
    _remove(disk, "source", "backingStore", "mirror")
    driver = disk.find("driver")
    if driver is None:
        driver = ET.Element("driver", name="qemu")
        disk.insert(0, driver)
    driver.set("type", "qcow2")
    disk.append(ET.Element("source", file=path))


def _set_mark(root: ET.Element, mark: Mark) -> None:
    ET.register_namespace(METADATA_PREFIX, NAMESPACE)
    metadata = root.find("metadata")
    if metadata is None:
        metadata = ET.SubElement(root, "metadata")
    _remove(metadata, f"{{{NAMESPACE}}}vm")
    metadata.append(mark.element(NAMESPACE))


def _set_serial(root: ET.Element, serial: str) -> None:
    """Set the serial number of the machine, which cloud-init reads."""
    system_part = root.find("os")
    if system_part is not None:
        _remove(system_part, "smbios")
        ET.SubElement(system_part, "smbios", mode="sysinfo")
    info = root.find("sysinfo[@type='smbios']")
    if info is None:
        info = ET.SubElement(root, "sysinfo", type="smbios")
    system = info.find("system")
    if system is None:
        system = ET.SubElement(info, "system")
    for entry in system.findall("entry[@name='serial']"):
        system.remove(entry)
    ET.SubElement(system, "entry", name="serial").text = serial


def _set_text(root: ET.Element, tag: str, text: str) -> None:
    found = root.find(tag)
    if found is None:
        found = ET.SubElement(root, tag)
    found.text = text


def _remove(parent: ET.Element, *tags: str) -> None:
    for tag in tags:
        for child in parent.findall(tag):
            parent.remove(child)
