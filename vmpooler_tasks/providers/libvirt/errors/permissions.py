"""Permissions of libvirt's access control (polkit): which one a refused call needs, and which ones a login lacks."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import libvirt

from vmpooler_tasks.providers.libvirt import definitions
from vmpooler_tasks.providers.libvirt.addresses import AGENT_SECONDS

NETWORK_OF_A_START = ("network.read", "network-port.create", "network-port.read")
NETWORK_OF_A_STOP = ("network-port.getattr", "network-port.delete")
"""What libvirt does in its networks in the name of the login, when a domain starts or stops."""

PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "openAuth": ("connect.getattr",),
    "virConnect.getLibVersion": ("connect.getattr",),
    "virConnect.getInfo": ("connect.read",),
    "virConnect.getMemoryStats": ("connect.read",),
    "virConnect.listAllDomains": ("connect.search-domains",),
    "virConnect.getAllDomainStats": ("connect.search-domains",),
    "virConnect.lookupByName": ("domain.getattr",),
    "virConnect.defineXML": ("domain.write", "domain.save"),
    "virConnect.createXML": ("domain.write", "domain.start"),
    "virConnect.storagePoolLookupByName": ("storage-pool.getattr",),
    "virConnect.storageVolLookupByPath": ("storage-vol.getattr",),
    "virConnect.networkLookupByName": ("network.getattr",),
    "virNetwork.XMLDesc": ("network.read",),
    "virNetwork.portCreateXML": ("network-port.create",),
    "virDomain.state": ("domain.read",),
    "virDomain.info": ("domain.read",),
    "virDomain.isActive": ("domain.read",),
    "virDomain.metadata": ("domain.read",),
    "virDomain.blockInfo": ("domain.read",),
    "virDomain.XMLDesc": ("domain.read", "domain.read-secure"),
    "virDomain.setMetadata": ("domain.write", "domain.save"),
    "virDomain.attachDeviceFlags": ("domain.write", "domain.save"),
    "virDomain.agentSetResponseTimeout": ("domain.write",),
    "virDomain.create": ("domain.start", *NETWORK_OF_A_START),
    "virDomain.destroy": ("domain.stop", *NETWORK_OF_A_STOP),
    "virDomain.undefineFlags": ("domain.delete",),
    "virDomain.snapshotLookupByName": ("domain.read",),
    "virDomain.snapshotCreateXML": ("domain.snapshot",),
    "virDomain.revertToSnapshot": ("domain.snapshot", *NETWORK_OF_A_START, *NETWORK_OF_A_STOP),
    "virStoragePool.XMLDesc": ("storage-pool.read",),
    "virStoragePool.info": ("storage-pool.read",),
    "virStoragePool.isActive": ("storage-pool.getattr",),
    "virStoragePool.storageVolLookupByName": ("storage-vol.getattr",),
    "virStoragePool.createXML": ("storage-vol.create",),
    "virStoragePool.createXMLFrom": ("storage-vol.create",),
    "virStorageVol.info": ("storage-vol.read",),
    "virStorageVol.delete": ("storage-vol.delete",),
}
"""Method of libvirt-python → the permissions of libvirt's access control that it needs. libvirt does not name them."""

REFUSED_PORT = f"""
<networkport>
  <uuid>{UUID(int=1)}</uuid>
  <owner><name>probe</name><uuid>{UUID(int=2)}</uuid></owner>
  <mac address='52:54:00:00:00:01'/>
  <plug type='hostdev-pci' managed='no'><address domain='0' bus='0' slot='0' function='0'/></plug>
</networkport>"""
"""libvirt itself chooses what a new port is plugged into."""

REFUSED_NAME = "vmpooler/probe"
"""No volume of a folder can have a slash in its name."""


NETWORK_DRIVER = "'network'"
"""Part of an error of the network driver, which another driver has called."""


def denied_permissions(error: BaseException) -> tuple[str, ...]:
    """Return the permissions of which the login lacks one, or all; empty if libvirt refused for another reason.

    The method that was refused is the last one of the traceback.
    """
    if not (isinstance(error, libvirt.libvirtError) and error.get_error_code() == libvirt.VIR_ERR_ACCESS_DENIED):
        return ()
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    needed = PERMISSIONS.get(last.tb_frame.f_code.co_qualname, ()) if last else ()
    if len(needed) > 1 and NETWORK_DRIVER in str(error):
        return tuple(name for name in needed if name.startswith("network"))
    return tuple(name for name in needed if len(needed) == 1 or not name.startswith("network"))


def hint_of(error: BaseException) -> str:
    """Return what an error's text lacks: which permission is missing; empty if it is about something else."""
    denied = denied_permissions(error)
    return f": the login needs {' and '.join(denied)} in libvirt's access control" if denied else ""


def find_missing(connection: Any, template: str, storage_pool: str) -> Iterator[str]:
    """Yield the permissions that the login lacks, by name. A step on a host.

    libvirt has no call that says what a login may do. So each call here is one that libvirt refuses for another reason,
    after it has checked the permission: a name that is taken, a text that is no XML. It changes nothing. There is no
    such call for what ends a domain, a volume or a port.
    """
    if _attempt(connection.listAllDomains).denied:
        yield "connect.search-domains"
    domain, denied = _attempt(lambda: connection.lookupByName(template))
    if denied:
        yield "domain.getattr"
    definition = None
    if domain is not None:
        definition, denied = _attempt(domain.XMLDesc)
        if denied:
            yield "domain.read"
        elif definition is not None:
            yield from _missing_for_domain(connection, domain, definition)
    yield from _missing_for_storage(connection, storage_pool, definition)
    for network in sorted(definitions.networks(definition)) if definition else ():
        yield from _missing_for_network(connection, network)


def lacks_memory(connection: Any) -> bool:
    """Return whether the login may not read how much memory a host has, by which one of several hosts is chosen."""
    return _attempt(connection.getInfo).denied


class _Attempt(NamedTuple):
    """What a call returned, None after an error, and whether libvirt denied access."""

    result: Any
    denied: bool


def _attempt(call: Callable[[], Any]) -> _Attempt:
    try:
        return _Attempt(call(), denied=False)
    except libvirt.libvirtError as error:
        return _Attempt(None, denied=error.get_error_code() == libvirt.VIR_ERR_ACCESS_DENIED)


def _missing_for_domain(connection: Any, domain: Any, definition: str) -> Iterator[str]:
    if _attempt(lambda: domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)).denied:
        yield "domain.read-secure"
    if domain.isActive():  # it is no template
        return
    if _attempt(lambda: domain.snapshotCreateXML("no XML")).denied:
        yield "domain.snapshot"
    if _attempt(lambda: domain.agentSetResponseTimeout(AGENT_SECONDS)).denied:
        yield "domain.write"
        return  # the others need it, too
    rival = definitions.rival_definition(definition)
    if _attempt(lambda: connection.defineXML(rival)).denied:
        yield "domain.save"
    if _attempt(lambda: connection.createXML(rival)).denied:
        yield "domain.start"


def _missing_for_storage(connection: Any, name: str, definition: str | None) -> Iterator[str]:
    storage, denied = _attempt(lambda: connection.storagePoolLookupByName(name))
    if denied:
        yield "storage-pool.getattr"
    if storage is None:
        return
    described, denied = _attempt(storage.XMLDesc)
    if denied:
        yield "storage-pool.read"
    refused_name = REFUSED_NAME if connection.getType() == "QEMU" else ""  # other drivers may accept it
    for image in _images_in(definitions.storage_path(described), definition) if described and definition else ():
        volume, denied = _attempt(lambda own=image: storage.storageVolLookupByName(own))  # type: ignore[misc]
        if denied:
            yield "storage-vol.getattr"
        elif volume is not None:
            refused_name = image  # it is taken
            if _attempt(volume.info).denied:
                yield "storage-vol.read"
    if refused_name and _attempt(lambda: storage.createXML(definitions.volume_definition(refused_name, 1))).denied:
        yield "storage-vol.create"


def _images_in(folder: str | None, definition: str) -> list[str]:
    """Return the names of the images of a domain that are in this folder."""
    paths = map(PurePosixPath, definitions.image_paths(definition))
    return sorted(path.name for path in paths if str(path.parent) == folder)


def _missing_for_network(connection: Any, name: str) -> Iterator[str]:
    network, denied = _attempt(lambda: connection.networkLookupByName(name))
    if denied:
        yield "network.getattr"
    if network is None:
        return
    if _attempt(network.XMLDesc).denied:
        yield "network.read"
    if _attempt(lambda: network.portCreateXML(REFUSED_PORT)).denied:
        yield "network-port.create"
