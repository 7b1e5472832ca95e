"""EC2 keeps the contract, on moto's real HTTP server."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import pytest

from tests.support.ec2_lab import Ec2Lab, tags_of
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers import PoolSpec, Provider
from vmpooler_tasks.providers.contract import ProviderContract, Trouble

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(600)]

INSTALLATION = "contract"
NOBODY = "http://127.0.0.1:9"

FAULTS: dict[Trouble, dict[str, Any]] = {
    Trouble.NO_PERMISSION: {"action": "RunInstances", "code": "UnauthorizedOperation", "status": 403},
    Trouble.NO_QUOTA: {"action": "RunInstances", "code": "VcpuLimitExceeded"},
    Trouble.THROTTLED: {"action": "RunInstances", "code": "RequestLimitExceeded", "status": 503},
    Trouble.HANGING: {"action": "*", "seconds": 30},
    Trouble.CUT: {"action": "RunInstances", "cut": "after"},
}
OPTIONS: dict[Trouble, dict[str, Any]] = {
    Trouble.UNREACHABLE: {"endpoint_url": NOBODY},
    Trouble.HANGING: {"read_timeout_seconds": 0.5, "max_attempts": 1},
    Trouble.NO_ADDRESS: {"start_seconds": 0.2},
}
PENDING_SECONDS = {Trouble.LATE_ADDRESS: 0.3, Trouble.NO_ADDRESS: 3600}


class TestContract(ProviderContract):
    installation = INSTALLATION
    many = 16
    inventory_seconds = 300.0
    """Moto takes most of it. The calls are counted."""

    @pytest.fixture(autouse=True)
    def _connected(self, lab: Ec2Lab) -> Iterator[None]:
        self.lab = lab
        self.own = lab.provider(INSTALLATION, max_attempts=2, read_timeout_seconds=120)
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

    def trouble(self, kind: Trouble) -> AbstractContextManager[PoolSpec]:
        return self._troubled(kind)

    @contextmanager
    def _troubled(self, kind: Trouble) -> Iterator[PoolSpec]:
        usual = self.own
        self.own = self.lab.provider(
            INSTALLATION, **{"max_attempts": 2, "read_timeout_seconds": 120, **OPTIONS.get(kind, {})}
        )
        self.lab.server.set_pending(PENDING_SECONDS.get(kind, 0))
        self.lab.server.fail(*([FAULTS[kind]] if kind in FAULTS else []))
        try:
            yield self.lab.pool
        finally:
            self.lab.server.fail()
            self.lab.server.set_pending(0)
            self.own = usual

    def leave_half_made(self, pool: PoolSpec, vm: str) -> bool:
        """Leave an instance that is pending. Its worker died before it ran."""
        own = {"Name": vm, "vm_name": vm, "pool": pool.name, "vmpooler_tasks_installation": INSTALLATION}
        self.lab.server.set_pending(0.3)
        self.lab.start(**own)
        self.lab.server.set_pending(0)
        return True

    def make_foreign_vm(self, pool: PoolSpec, vm: str, mark: str | None) -> bool:
        self.lab.start(Name=vm, pool=pool.name, **({"vmpooler_tasks_installation": mark} if mark else {}))
        return True

    def user_of(self, pool: PoolSpec, vm: str) -> str | None:
        del pool
        return next(found["token-user"] for found in map(tags_of, self.lab.instances()) if found["Name"] == vm)

    def _destroy(self, pool: PoolSpec, names: Sequence[str]) -> None:
        """Destroy the VMs, and past the provider those of another installation, which it does not destroy."""
        for vm in names:
            with suppress(PermanentProviderError):
                self.own.destroy_vm(pool, vm)
        others = [instance["InstanceId"] for instance in self.lab.instances() if tags_of(instance)["Name"] in names]
        if others:
            self.lab.client.terminate_instances(InstanceIds=others)

    def leftovers(self) -> Collection[str]:
        return {volume["VolumeId"] for volume in self.lab.volumes()}

    def large_pool(self) -> AbstractContextManager[tuple[PoolSpec, Collection[str]]]:
        return self._filled()

    @contextmanager
    def _filled(self) -> Iterator[tuple[PoolSpec, Collection[str]]]:
        names = self.lab.server.fill(2500, pool=self.lab.pool.name)
        yield self.lab.pool, names
        assert self.lab.server.calls().count("DescribeInstances") == 3, "a page has a thousand"
        self.lab.server.reset()
