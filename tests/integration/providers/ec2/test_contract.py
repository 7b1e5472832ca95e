"""EC2 keeps the contract, on moto's real HTTP server."""

from collections.abc import Iterator

import pytest

from tests.support.ec2_lab import Ec2Lab
from vmpooler_tasks.providers import PoolSpec, Provider
from vmpooler_tasks.providers.contract import ProviderContract

pytestmark = pytest.mark.stage(name="providers")


class TestContract(ProviderContract):
    many = 16

    @pytest.fixture(autouse=True)
    def _connected(self, lab: Ec2Lab) -> Iterator[None]:
        self.lab = lab
        self.own = lab.provider(installation="contract", readiness="running")
        yield
        assert lab.volumes() == [], "each test takes away what it made"

    def provider(self) -> Provider:
        return self.own

    def pool(self) -> PoolSpec:
        return self.lab.pool

    def other_pool(self) -> PoolSpec:
        return PoolSpec(name="other", template=self.lab.pool.template)

    def pool_without_template(self) -> PoolSpec:
        return PoolSpec(name="old", template="ami-0123456789abcdef0")
