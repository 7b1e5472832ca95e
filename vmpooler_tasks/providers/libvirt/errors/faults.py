"""Errors of libvirt as errors of a provider, with libvirt's own words."""

from typing import Any

import libvirt

from vmpooler_tasks.errors import (
    PermanentProviderError,
    ProviderError,
    ThrottledProviderError,
    TransientProviderError,
    VmNotFoundError,
)
from vmpooler_tasks.providers.libvirt.errors.permissions import hint_of

PERMANENT = frozenset(
    {
        libvirt.VIR_ERR_ACCESS_DENIED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_INVALID_ARG,
        libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_OPERATION_DENIED,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_XML_DETAIL,
        libvirt.VIR_ERR_XML_ERROR,
        libvirt.VIR_ERR_XML_INVALID_SCHEMA,
    }
)
"""Codes after which another attempt cannot succeed."""

DISK_FULL = "No space left on device"
"""The words of the operating system. libvirt has no code for them."""

LOGIN_REFUSED = ("Host key verification failed", "Permission denied (")
"""Words of ssh, which ends then. libvirt reports that the connection was lost."""

OVERLOADED = ("Too many active clients", "RPC limit", "maximum number of clients")
"""Words of a daemon that refuses a client because it has too many."""


def has_code(error: BaseException, *codes: int) -> bool:
    """Return whether it is libvirt's error with one of these codes."""
    return isinstance(error, libvirt.libvirtError) and error.get_error_code() in codes


def as_provider_error(error: Any, host: str, vm: str = "") -> ProviderError:
    """Return the error that a provider raises instead. The name of the VM is not in its message."""
    words = str(error)
    text = f"{host}: {words.replace(vm, 'the VM') if vm else words}{hint_of(error)}"
    code = error.get_error_code()
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return VmNotFoundError("the VM does not exist")
    if code in PERMANENT or DISK_FULL in words or any(part in words for part in LOGIN_REFUSED):
        return PermanentProviderError(text)
    if code == libvirt.VIR_ERR_RESOURCE_BUSY or any(part in words for part in OVERLOADED):
        return ThrottledProviderError(text)
    return TransientProviderError(text)
