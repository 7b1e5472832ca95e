"""Permissions of libvirt's access control (polkit): which one a refused call needs, and which ones a login lacks."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import libvirt

from vmpooler_tasks.providers.libvirt import definitions
from vmpooler_tasks.providers.libvirt.addresses import AGENT_SECONDS

PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "openAuth": ("connect.getattr",),
    "virConnect.getLibVersion": ("connect.getattr",),
    "virConnect.getInfo": ("connect.read",),
    "virConnect.getMemoryStats": ("connect.read",),
    "virConnect.listAllDomains": ("connect.search-domains",),
    "virConnect.lookupByName": ("domain.getattr",),
    "virConnect.defineXML": ("domain.write", "domain.save"),
    "virConnect.createXML": ("domain.write", "domain.start"),
    "virConnect.storagePoolLookupByName": ("storage-pool.getattr",),
    "virConnect.storageVolLookupByPath": ("storage-vol.getattr",),
    "virConnect.networkLookupByName": ("network.getattr",),
    "virDomain.state": ("domain.read",),
    "virDomain.info": ("domain.read",),
    "virDomain.isActive": ("domain.read",),
    "virDomain.metadata": ("domain.read",),
    "virDomain.blockInfo": ("domain.read",),
    "virDomain.XMLDesc": ("domain.read", "domain.read-secure"),
    "virDomain.setMetadata": ("domain.write", "domain.save"),
    "virDomain.attachDeviceFlags": ("domain.write", "domain.save"),
    "virDomain.agentSetResponseTimeout": ("domain.write",),
    "virDomain.create": ("domain.start",),
    "virDomain.destroy": ("domain.stop",),
    "virDomain.undefineFlags": ("domain.delete",),
    "virDomain.snapshotLookupByName": ("domain.read",),
    "virDomain.snapshotCreateXML": ("domain.snapshot",),
    "virDomain.revertToSnapshot": ("domain.snapshot",),
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

REFUSED_NAME = "vmpooler/probe"
"""No volume of a folder can have a slash in its name."""


def denied_permissions(error: BaseException) -> tuple[str, ...]:
    """Return the permissions of which the login lacks one, or all; empty if libvirt refused for another reason.

    The method that was refused is the last one of the traceback.
    """
    if not (isinstance(error, libvirt.libvirtError) and error.get_error_code() == libvirt.VIR_ERR_ACCESS_DENIED):
        return ()
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return PERMISSIONS.get(last.tb_frame.f_code.co_qualname, ()) if last else ()


def hint_of(error: BaseException) -> str:
    """Return what an error's text lacks: which permission is missing; empty if it is about something else."""
    denied = denied_permissions(error)
    return f": the login needs {' and '.join(denied)} in libvirt's access control" if denied else ""


def find_missing(connection: Any, template: str, storage_pool: str) -> Iterator[str]:
    """Yield the permissions that the login lacks, by name. A step on a host.

    libvirt has no call that says what a login may do. So each call here is one that libvirt refuses for another reason,
    after it has checked the permission: a name that is taken, a text that is no XML. It changes nothing. There is no
    such call for `domain.stop`, `domain.delete` and `storage-vol.delete`.
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
        if _attempt(lambda name=network: connection.networkLookupByName(name)).denied:  # type: ignore[misc]
            yield "network.getattr"


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
    refused_name = REFUSED_NAME if connection.getType() == "QEMU" else ""  # other drivers may accept it
    for path in sorted(definitions.image_paths(definition)) if definition else ():
        image, denied = _attempt(lambda file=path: connection.storageVolLookupByPath(file))  # type: ignore[misc]
        if denied:
            yield "storage-vol.getattr"
        elif image is not None:
            if _attempt(image.info).denied:
                yield "storage-vol.read"
            if _attempt(lambda own=image: own.storagePoolLookupByVolume().name()).result == name:  # type: ignore[misc]
                refused_name = image.name()  # it is taken
    storage, denied = _attempt(lambda: connection.storagePoolLookupByName(name))
    if denied:
        yield "storage-pool.getattr"
    if storage is None:
        return
    if _attempt(storage.XMLDesc).denied:
        yield "storage-pool.read"
    if refused_name and _attempt(lambda: storage.createXML(definitions.volume_definition(refused_name, 1))).denied:
        yield "storage-vol.create"
