"""What makes and destroys VMs: the protocol, the registry by entry point, and `dummy`, which needs no hypervisor."""

from vmpooler_tasks.providers.protocol import (
    DiskProvider,
    PoolSpec,
    Provider,
    ProviderContext,
    Readiness,
    SnapshotProvider,
    VirtualMachine,
)

__all__ = [
    "DiskProvider",
    "PoolSpec",
    "Provider",
    "ProviderContext",
    "Readiness",
    "SnapshotProvider",
    "VirtualMachine",
]
