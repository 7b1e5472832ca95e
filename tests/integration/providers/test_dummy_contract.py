"""The dummy keeps the contract, and the contract finds a provider that does not."""

from collections.abc import Iterator

import pytest

from tests.support.dummy_lab import POOL, Lab
from tests.support.servers import TestServer
from vmpooler_tasks.providers import Inventory, PoolSpec, Provider, ProviderContext, VirtualMachine, registry
from vmpooler_tasks.providers.contract import ProviderContract
from vmpooler_tasks.providers.dummy.inventory import PREFIX
from vmpooler_tasks.providers.dummy.provider import OPERATIONS, Dummy
from vmpooler_tasks.store import Database

pytestmark = [pytest.mark.both_servers, pytest.mark.slow(seconds=3)]


class TestContract(ProviderContract):
    """On both kinds of server."""

    @pytest.fixture(autouse=True)
    def _connected(self, server: TestServer, db: Database) -> Iterator[None]:
        options = {"templates": [POOL.template]}
        self.own = registry.load(ProviderContext(name="dummy", options=options, redis_url=server.url))
        yield
        self.own.close()
        assert db.client.keys() == [], "each test takes away what it made"

    def provider(self) -> Provider:
        return self.own

    def pool(self) -> PoolSpec:
        return POOL

    def other_pool(self) -> PoolSpec:
        return PoolSpec(name="debian-12-x86_64", template=POOL.template)

    def pool_without_template(self) -> PoolSpec:
        return PoolSpec(name="old", template="templates/gone")


class TestContractWithEverythingOptional(TestContract):
    """The same where each call is counted and each VM may get lost, although none does."""

    @pytest.fixture(autouse=True)
    def _connected(self, server: TestServer, db: Database) -> Iterator[None]:
        rare = {"transient": 1e-12}
        options = {
            "templates": [POOL.template],
            "failures": dict.fromkeys(OPERATIONS, rare),
            "lost": 1.0,
            "lost_after_seconds": 1000,
        }
        self.own = registry.load(ProviderContext(name="dummy", options=options, redis_url=server.url))
        yield
        self.own.close()
        assert all(key.startswith(f"{PREFIX}calls:".encode()) for key in db.client.scan_iter())


class TwiceMade(Dummy):
    """Has every fault that a provider is tempted to have."""

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        return super().find_vm(pool, vm) or VirtualMachine(name=vm)

    def list_vms(self, pool: PoolSpec) -> Inventory:
        self.shown = {**getattr(self, "shown", {}), **super().list_vms(pool)}
        return self.shown

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        super().destroy_vm(pool, vm)
        return True

    def has_disk(self, pool: PoolSpec, vm: str, disk: str) -> bool:
        del pool, vm, disk
        return True

    def has_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> bool:
        del pool, vm, snapshot
        return True


CONTRACT_TESTS = [
    name for name in vars(ProviderContract) if name.startswith("test_") and name != "test_it_is_a_provider"
]


@pytest.mark.parametrize("test", CONTRACT_TESTS)
def test_the_contract_does_not_pass_a_provider_that_breaks_it(lab: Lab, test: str) -> None:
    own = TwiceMade(ProviderContext(name="dummy", options={}, redis_url=lab.url))
    lab.stack.callback(own.close)

    class Contract(TestContract):
        def provider(self) -> Provider:
            return own

    with pytest.raises(AssertionError):
        getattr(Contract(), test)()


def test_the_contract_skips_what_the_author_gives_no_pool_for() -> None:
    class Contract(ProviderContract):
        def provider(self) -> Provider:
            raise AssertionError("not needed")

        pool = TestContract.pool

    with pytest.raises(NotImplementedError, match="override provider"):
        ProviderContract().provider()
    with pytest.raises(NotImplementedError, match="override pool"):
        ProviderContract().pool()
    with pytest.raises(pytest.skip.Exception, match="pool_without_template"):
        Contract().test_a_template_that_does_not_exist_is_a_permanent_error()
