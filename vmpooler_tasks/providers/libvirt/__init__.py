"""VMs on hosts with libvirt: each is a domain and its volumes, cloned from a template domain.

`vmpooler_tasks.providers.libvirt.options` lists the options. docs/providers/libvirt.md has an introduction.
"""

from vmpooler_tasks.providers.libvirt.provider import Libvirt
from vmpooler_tasks.providers.protocol import ProviderContext


def libvirt(context: ProviderContext) -> Libvirt:
    """Return the provider. Raise ValueError for wrong options."""
    return Libvirt(context)
