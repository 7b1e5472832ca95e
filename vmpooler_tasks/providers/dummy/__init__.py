"""A provider that needs no hypervisor: VMs that are records in Redis, and take time and fail as configured.

For a first look, for tests and for benchmarks. `vmpooler_tasks.providers.dummy.options` lists what can be configured.
"""

from vmpooler_tasks.providers.dummy.provider import Dummy
from vmpooler_tasks.providers.protocol import ProviderContext


def dummy(context: ProviderContext) -> Dummy:
    """The factory. Raises ValueError of what cannot be configured so."""
    return Dummy(context)
