"""vCenter's faults and broken connections as errors of a provider, with the fault's own words."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any
from xml.parsers.expat import ExpatError

from pyVmomi import vim, vmodl

from vmpooler_tasks.errors import (
    PermanentProviderError,
    ProviderError,
    ThrottledProviderError,
    TransientProviderError,
    VmNotFoundError,
)


class DuplicateNameError(PermanentProviderError):
    """The folder has an object of this name."""


class BusyError(TransientProviderError):
    """The object is in a state, or has a task, that does not allow this now."""


class ConnectionCutError(TransientProviderError):
    """The connection ended before the reply. The vCenter may have carried out the call."""


class SessionEndedError(TransientProviderError):
    """The session ended in the middle of a paged result."""


BROKEN = (OSError, HTTPException, ExpatError)
"""What pyVmomi raises if the connection or the reply is broken."""

PERMANENT_FAULTS = (
    vmodl.fault.SecurityError,
    vmodl.fault.InvalidRequest,
    vmodl.fault.InvalidArgument,
    vmodl.fault.NotSupported,
    vmodl.fault.NotImplemented,
    vim.fault.MethodDisabled,
    vmodl.fault.NotEnoughLicenses,
    vim.fault.InvalidLogin,
    vim.fault.InvalidName,
    vim.fault.InvalidFolder,
    vim.fault.InvalidLocale,
    vim.fault.FileNotFound,
    vim.fault.VmConfigFault,
    vim.fault.NotFound,
)
"""Faults of the request itself. InsufficientResourcesFault and what is unknown may be over later: transient."""

THROTTLED_FAULTS = (vim.fault.LimitExceeded, vim.fault.TooManyConcurrentNativeClones)

BUSY_FAULTS = (vim.fault.TaskInProgress, vim.fault.InvalidState, vim.fault.ConcurrentAccess, vim.fault.ResourceInUse)

TEMPORARY_FAULTS = (vim.fault.InaccessibleDatastore,)

THROTTLING_STATUSES = ("429", "503")


def error_of(fault: BaseException) -> ProviderError:
    """Return the error for a fault or a broken connection."""
    if isinstance(fault, vmodl.MethodFault):
        return _error_class(fault)(words_of(fault))
    if isinstance(fault, ssl.SSLCertVerificationError):
        return PermanentProviderError(f"the vCenter's certificate cannot be verified: {fault.verify_message}")
    if isinstance(fault, socket.gaierror):
        return TransientProviderError(f"the vCenter's name cannot be resolved: {fault.strerror}")
    if isinstance(fault, TimeoutError):
        return ConnectionCutError("the vCenter did not reply in time")
    if isinstance(fault, HTTPException) and str(fault).startswith(THROTTLING_STATUSES):
        return ThrottledProviderError(f"the vCenter replied with HTTP {fault}")
    return ConnectionCutError(f"no reply of the vCenter: {type(fault).__name__}: {fault}".removesuffix(": "))


def _error_class(fault: Any) -> type[ProviderError]:
    if isinstance(fault, vmodl.fault.ManagedObjectNotFound):
        return VmNotFoundError
    if isinstance(fault, vim.fault.DuplicateName):
        return DuplicateNameError
    for faults, error in (
        (THROTTLED_FAULTS, ThrottledProviderError),
        (BUSY_FAULTS, BusyError),
        (TEMPORARY_FAULTS, TransientProviderError),
        (PERMANENT_FAULTS, PermanentProviderError),
    ):
        if isinstance(fault, faults):
            return error
    return TransientProviderError


def words_of(fault: Any) -> str:
    """Return kind and message of a fault, and the privilege that is missing."""
    kind = type(fault).__name__.rsplit(".", 1)[-1]
    messages = [getattr(fault, "msg", None) or "", *(part.message or "" for part in fault.faultMessage or ())]
    text = " ".join(dict.fromkeys(filter(None, messages)))
    if isinstance(fault, vim.fault.NoPermission) and fault.privilegeId:
        text = f"{text} Missing privilege: {fault.privilegeId}".strip()
    return f"{kind}: {text}" if text else kind


@contextmanager
def hiding(vm: str) -> Iterator[None]:
    """Replace the VM's name in the text of an error, so that equal failures have equal texts."""
    try:
        yield
    except ProviderError as error:
        if vm in str(error):
            error.args = (str(error).replace(vm, "VM"), *error.args[1:])
        raise
