"""Domains on a host. Each function is a step: its first argument is the connection, or a domain of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import libvirt

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.libvirt import definitions
from vmpooler_tasks.providers.libvirt.addresses import Address, read_address, read_hostname
from vmpooler_tasks.providers.libvirt.definitions import Mark
from vmpooler_tasks.providers.libvirt.errors.faults import has_code
from vmpooler_tasks.providers.libvirt.options import AddressSource
from vmpooler_tasks.providers.libvirt.volumes import delete_volume

STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: "no state",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "blocked",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutting down",
    libvirt.VIR_DOMAIN_SHUTOFF: "shut off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}

RUNNING = STATES[libvirt.VIR_DOMAIN_RUNNING]


class DomainView(NamedTuple):
    """What is known of a domain: its mark and state. If the address was queried: this, and the name of the guest."""

    mark: Mark | None
    state: str
    ip: str | None = None
    hostname: str | None = None


UNDEFINE_FLAGS = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)

FEW_UNDEFINE_FLAGS = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
"""For drivers that know no others."""


def find_domain(connection: Any, name: str) -> Any:
    """Return the domain; None if there is none."""
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as error:
        if has_code(error, libvirt.VIR_ERR_NO_DOMAIN):
            return None
        raise


def read_mark(domain: Any) -> Mark | None:
    """Return what the metadata of the domain says; None if it has no such metadata, is a copy, or is gone.

    The volumes that the metadata of a copy names are those of the original.
    """
    try:
        name = domain.name()
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, definitions.NAMESPACE)
    except libvirt.libvirtError as error:
        if has_code(error, libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN):
            return None
        raise
    mark = Mark.from_xml(text)
    return mark if mark.vm == name else None


def read_marks(connection: Any) -> list[tuple[str, Mark]]:
    """Return the name and the mark of each domain that has one.

    libvirt has no call that returns the metadata of several domains. They are read one after the other: before 10.4,
    threads that share a connection can crash its library (CVE-2024-4418).
    """
    marks = [(domain.name(), read_mark(domain)) for domain in connection.listAllDomains()]
    return [(name, mark) for name, mark in marks if mark]


def read_view(connection: Any, name: str, sources: Sequence[AddressSource]) -> DomainView | None:
    """Return what is known of a domain; None if there is none of this name.

    Without `sources` no address is queried. A guest's agent can keep the caller waiting for it.
    """
    domain = find_domain(connection, name)
    if domain is None:
        return None
    try:
        mark, state = read_mark(domain), STATES.get(domain.state()[0], "unknown")
        address = read_address(domain, sources) if sources and state == RUNNING else Address()
    except libvirt.libvirtError as error:
        if has_code(error, libvirt.VIR_ERR_NO_DOMAIN):  # it has just been destroyed
            return None
        raise
    return DomainView(mark=mark, state=state, ip=address.ip, hostname=read_hostname(domain, address.source))


def write_mark(domain: Any, mark: Mark) -> None:
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | (libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0)
    element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    domain.setMetadata(element, mark.to_xml(), definitions.METADATA_PREFIX, definitions.NAMESPACE, flags)


def find_template(connection: Any, template: str | None) -> Any:
    """Return the domain that is the template; None if this host does not have it.

    Raise PermanentProviderError if it runs: its disks change, and the clones that are based on them would be damaged.
    """
    domain = find_domain(connection, template) if template else None
    if domain is not None and domain.isActive():
        raise PermanentProviderError(f"template {template} is running: shut it off, its disks must not change")
    return domain


def definition_of(template: Any) -> str:
    """Return the definition of a template, with the passwords of its displays: its clones have them, too."""
    return str(template.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))


def start(domain: Any) -> None:
    """Start the domain, unless it runs."""
    if domain.isActive():
        return
    try:
        domain.create()
    except libvirt.libvirtError:
        if not domain.isActive():  # else another call started it at the same time
            raise


def remove(connection: Any, domain: Any, mark: Mark) -> None:
    """Stop the domain, delete the volumes that were made for it, and then its definition, which lists them.

    Each part may be gone. A call that breaks off in between is repeated until nothing is left.
    """
    with suppressed(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):  # it does not run
        domain.destroy()
    for volume in mark.volumes:
        delete_volume(connection, volume)
    with suppressed(libvirt.VIR_ERR_NO_DOMAIN):
        _undefine(domain)


def _undefine(domain: Any) -> None:
    try:
        domain.undefineFlags(UNDEFINE_FLAGS)
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_INVALID_ARG):
            raise
        domain.undefineFlags(FEW_UNDEFINE_FLAGS)


@contextmanager
def suppressed(*codes: int) -> Iterator[None]:
    """Suppress libvirt's errors with these codes, and no others."""
    try:
        yield
    except libvirt.libvirtError as error:
        if not has_code(error, *codes):
            raise


def has_snapshot(domain: Any, name: str) -> bool:
    try:
        domain.snapshotLookupByName(name)
    except libvirt.libvirtError as error:
        if has_code(error, libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT):
            return False
        raise
    return True


def make_snapshot(domain: Any, name: str) -> None:
    """Make a snapshot of disks and memory inside the images. The VM stands still meanwhile."""
    domain.snapshotCreateXML(definitions.snapshot_definition(name))


def revert(domain: Any, name: str) -> None:
    domain.revertToSnapshot(domain.snapshotLookupByName(name))
