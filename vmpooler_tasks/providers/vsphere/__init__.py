"""A provider for VMware vSphere: VMs are clones of a template, in one folder for each pool. docs/providers/vsphere.md.

It needs pyVmomi: `pip install 'vmpooler-tasks[vsphere]'`.
"""

from vmpooler_tasks.providers.protocol import ProviderContext
from vmpooler_tasks.providers.vsphere.provider import Vsphere


def vsphere(context: ProviderContext) -> Vsphere:
    """Return the provider. It connects at its first call. Raise ValueError for wrong options."""
    return Vsphere(context)
