"""What VMware Tools report of a guest: its address, its name, and whether it is ready."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address

from vmpooler_tasks.providers.protocol import Readiness
from vmpooler_tasks.providers.vsphere.api.properties import FoundObject

GUEST_PATHS = (
    "guest.ipAddress",
    "guest.net",
    "guest.hostName",
    "guest.toolsRunningStatus",
    "runtime.powerState",
    "runtime.host",
)

ON, TOOLS_RUN = "poweredOn", "guestToolsRunning"


def address_of(found: FoundObject) -> str | None:
    """Return the address that others can reach: IPv4 before IPv6, and none that is valid on its own link alone."""
    usable = [address for address in _addresses(found) if _is_usable(address)]
    return min(usable, key=lambda address: ip_address(address).version, default=None)


def find_guest_problem(found: FoundObject) -> Readiness | None:
    """Return why the guest cannot be ready; None if its tools run and it has an address."""
    if found.get("runtime.powerState") != ON:
        return Readiness(False, f"the VM is {found.get('runtime.powerState')}")
    if found.get("guest.toolsRunningStatus") != TOOLS_RUN:
        return Readiness(False, "VMware Tools do not run in the guest")
    if address_of(found) is None:
        return Readiness(False, "the guest reports no address")
    return None


def find_port_problem(address: str, port: int, seconds: float) -> Readiness | None:
    """Return why the TCP port does not accept a connection; None if it does, or if `port` is 0."""
    if not port:
        return None
    try:
        socket.create_connection((address, port), seconds).close()
    except OSError as error:
        return Readiness(False, f"TCP port {port}: {error.strerror or error}", type(error).__name__)
    return None


def _addresses(found: FoundObject) -> Iterator[str]:
    if first := found.get("guest.ipAddress"):
        yield first
    for card in found.get("guest.net") or ():
        yield from card.ipAddress or ()


def _is_usable(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_link_local or address.is_unspecified or address.is_multicast)
