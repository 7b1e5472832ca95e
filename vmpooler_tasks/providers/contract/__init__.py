"""The tests that every provider must pass. Derive from `ProviderContract` in your own tests, and run pytest.

    import pytest
    from vmpooler_tasks.providers import PoolSpec, ProviderContext
    from vmpooler_tasks.providers.contract import ProviderContract
    from vmpooler_tasks_vsphere import vsphere

    class TestVsphere(ProviderContract):
        @pytest.fixture(autouse=True)
        def _connected(self, vcenter):
            self.own = vsphere(ProviderContext(name="vsphere", options=vcenter, redis_url="redis://127.0.0.1"))
            yield
            self.own.close()

        def provider(self):
            return self.own

        def pool(self):
            return PoolSpec(name="contract", template="templates/small", clone_target="test-cluster")

Define `provider` and `pool`. The other hooks (`hooks.py`) enable more tests, which are otherwise skipped: of a second
pool, of what fails, of half-made VMs, of marks and of VMs that somebody else made, of a pool with thousands of VMs. A
provider that has no disks or no snapshots skips the tests of these. The other defaults are for a provider that is fast
and cheap: lower `many` if yours is not. Each test destroys the VMs that it made, and does not touch other VMs in the
pool.

To see the values in a failed comparison, call
`pytest.register_assert_rewrite("vmpooler_tasks.providers.contract")` in conftest.py before the import.
"""

from vmpooler_tasks.providers.contract.failures import FailureContract
from vmpooler_tasks.providers.contract.hooks import Trouble
from vmpooler_tasks.providers.contract.lifecycle import LifecycleContract
from vmpooler_tasks.providers.contract.ownership import OwnershipContract
from vmpooler_tasks.providers.contract.parts import PartsContract

__all__ = ["ProviderContract", "Trouble"]


class ProviderContract(LifecycleContract, OwnershipContract, PartsContract, FailureContract):
    """All tests. Override the attributes and methods of `ContractHooks`."""
