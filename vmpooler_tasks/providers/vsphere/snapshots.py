"""Snapshots of a VM form a tree."""

from collections.abc import Sequence
from typing import Any

SNAPSHOT_DESCRIPTION = "vmpooler"
"""What VMPooler writes as well."""


def find_snapshot(info: Any, name: str) -> Any:
    """Return the reference of the snapshot with this name; None if the VM has none."""
    waiting: list[Any] = list(_children(info, "rootSnapshotList"))
    while waiting:
        snapshot = waiting.pop(0)
        if snapshot.name == name:
            return snapshot.snapshot
        waiting += _children(snapshot, "childSnapshotList")
    return None


def _children(parent: Any, field: str) -> Sequence[Any]:
    return getattr(parent, field, None) or ()
