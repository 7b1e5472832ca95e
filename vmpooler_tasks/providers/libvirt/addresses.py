"""The address of a VM, the name that it reports, and whether it accepts connections."""

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import libvirt

from vmpooler_tasks.providers.libvirt import definitions
from vmpooler_tasks.providers.libvirt.options import AddressSource

AGENT_SECONDS = 5
"""How long a guest's agent may take to reply. libvirt itself sets no limit."""

SOURCES: dict[AddressSource, int] = {
    "lease": libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
    "agent": libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
    "arp": libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
}

HOSTNAME_SOURCES: dict[AddressSource, int] = {
    "lease": libvirt.VIR_DOMAIN_GET_HOSTNAME_LEASE,
    "agent": libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT,
}


class Address(NamedTuple):
    """An address, and the source that knows it; both None if there is none yet."""

    ip: str | None = None
    source: AddressSource | None = None


def read_address(domain: Any, sources: Sequence[AddressSource]) -> Address:
    """Return the address of a running domain from the first source that has one.

    A source that fails, such as an agent that does not run yet, has none.
    """
    own = definitions.macs(domain.XMLDesc())
    for source in sources:
        if source == "agent":
            with suppress(libvirt.libvirtError):  # the driver cannot limit it
                domain.agentSetResponseTimeout(AGENT_SECONDS)
        try:
            interfaces = domain.interfaceAddresses(SOURCES[source])
        except libvirt.libvirtError:
            continue
        # The agent reports the interfaces in the guest, such as its bridges and its loopback.
        found = _chosen(
            part["addr"]
            for interface in interfaces.values()
            if str(interface.get("hwaddr", "")).lower() in own
            for part in interface.get("addrs") or ()
        )
        if found:
            return Address(found, source)
    return Address()


def read_hostname(domain: Any, source: AddressSource | None) -> str | None:
    """Return the name that the guest reports to this source; None if it reports none."""
    if source not in HOSTNAME_SOURCES:
        return None
    try:
        return str(domain.hostname(HOSTNAME_SOURCES[source]))
    except libvirt.libvirtError:
        return None


def refusal_of(ip: str, port: int, seconds: float) -> str:
    """Return why the port does not accept a connection; empty if it does."""
    try:
        socket.create_connection((ip, port), timeout=seconds).close()
    except OSError as error:
        return f"port {port} does not accept connections: {error.strerror or error}"
    return ""


def _chosen(texts: Iterable[str]) -> str | None:
    """Return the first address of IPv4, else of IPv6, that others can reach."""
    known = [ipaddress.ip_address(text.partition("%")[0]) for text in texts]
    usable = [address for address in known if not (address.is_loopback or address.is_link_local)]
    usable.sort(key=lambda address: address.version)  # stable: the order within a version stays
    return str(usable[0]) if usable else None
