"""What makes and destroys VMs: the protocol, the registry by entry point, and `dummy`, which needs no hypervisor."""

from vmpooler_tasks.providers.protocol import (
    CheckedProvider,
    DiskProvider,
    Inventory,
    MarkedVm,
    MarkingProvider,
    PoolSpec,
    Provider,
    ProviderContext,
    ProviderProblem,
    Readiness,
    SnapshotProvider,
    TaggingProvider,
    VirtualMachine,
)

__all__ = [
    "CheckedProvider",
    "DiskProvider",
    "Inventory",
    "MarkedVm",
    "MarkingProvider",
    "PoolSpec",
    "Provider",
    "ProviderContext",
    "ProviderProblem",
    "Readiness",
    "SnapshotProvider",
    "TaggingProvider",
    "VirtualMachine",
]
