"""What makes and destroys VMs: the protocol, the registry by entry point, and `dummy`, which needs no hypervisor."""

from vmpooler_tasks.providers.protocol import PoolSpec, Provider, ProviderContext, Readiness, VirtualMachine

__all__ = ["PoolSpec", "Provider", "ProviderContext", "Readiness", "VirtualMachine"]
