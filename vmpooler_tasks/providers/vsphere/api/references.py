"""The id of a managed object, which stays the same in every session."""

from typing import Any


def id_of(ref: Any) -> str:
    """Return the id that the vCenter gave an object: `vm-12` for what pyVmomi shows as `'vim.VirtualMachine:vm-12'`."""
    return str(ref).strip("'").partition(":")[2]
