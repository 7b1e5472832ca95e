"""A provider without a hypervisor: its VMs are records in Redis, and take time and fail as configured.

It is for trying out this project, for tests and for benchmarks. `vmpooler_tasks.providers.dummy.options` lists its
options.
"""

from vmpooler_tasks.providers.dummy.provider import Dummy
from vmpooler_tasks.providers.protocol import ProviderContext


def dummy(context: ProviderContext) -> Dummy:
    """Return the provider. Raise ValueError for wrong options."""
    return Dummy(context)
