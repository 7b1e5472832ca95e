"""The vSphere provider keeps the contract, on a vCenter simulator."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.vcenter_simulator import CLUSTER, FOLDER, TEMPLATE, Vcenter
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.providers import PoolSpec, Provider, ProviderContext, registry
from vmpooler_tasks.providers.contract import ProviderContract, Trouble

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(1200)]

INSTALLATION = "contract"

LARGE_FOLDER = "Pooled VMs/other"
LARGE = 2500

EVERY_METHOD, ALWAYS = "*", 1_000_000

TROUBLES: dict[Trouble, dict[str, Any]] = {
    Trouble.LATE_ADDRESS: {"guest_seconds": 2.0},
    Trouble.NO_ADDRESS: {"guest_seconds": 3600.0},
    Trouble.NO_PERMISSION: {"revoked_privileges": ["VirtualMachine.Inventory.CreateFromExisting"]},
    Trouble.NO_QUOTA: {
        "faults": [
            {"method": "CloneVM_Task", "in_task": True, "name": "NoDiskSpace", "message": "No space", "count": ALWAYS}
        ]
    },
    Trouble.THROTTLED: {"faults": [{"method": "CloneVM_Task", "status": 503, "count": ALWAYS}]},
    Trouble.UNREACHABLE: {"faults": [{"method": EVERY_METHOD, "cut": True, "count": ALWAYS}]},
    Trouble.HANGING: {"latency_seconds": 30.0},
    Trouble.CUT: {"faults": [{"method": "CloneVM_Task", "cut": True, "after": True, "count": 1}]},
}


class TestContract(ProviderContract):
    installation = INSTALLATION
    poll_seconds = 0.1

    @pytest.fixture(autouse=True)
    def _connected(self, vcenter: Vcenter) -> Iterator[None]:
        self.vcenter = vcenter
        options = {**vcenter.options, "call_timeout_seconds": 10, "address_timeout_seconds": 10}
        self.own = registry.load(
            ProviderContext(name="vsphere", options=options, redis_url="", installation=INSTALLATION)
        )
        yield
        self.own.close()

    def provider(self) -> Provider:
        return self.own

    def pool(self) -> PoolSpec:
        return PoolSpec(name="contract", template=TEMPLATE, clone_target=CLUSTER, options={"folder": FOLDER})

    def other_pool(self) -> PoolSpec:
        return PoolSpec(name="other", template=TEMPLATE, clone_target=CLUSTER, options={"folder": "Pooled VMs/other"})

    def pool_without_template(self) -> PoolSpec:
        return PoolSpec(name="old", template="Templates/gone", clone_target=CLUSTER, options={"folder": FOLDER})

    @contextmanager
    def trouble(self, kind: Trouble) -> Iterator[PoolSpec]:
        self.vcenter.configure(**TROUBLES[kind])
        try:
            yield self.pool()
        finally:
            self.vcenter.configure()

    def leave_half_made(self, pool: PoolSpec, vm: str) -> bool:
        cut = {"method": "CloneVM_Task", "cut": True, "after": True, "count": 1}
        self.vcenter.configure(clones_that_stay_off=1, faults=[cut])
        with pytest.raises(TransientProviderError, match="no reply"):
            self.own.create_vm(pool, vm)
        return True

    def make_foreign_vm(self, pool: PoolSpec, vm: str, mark: str | None) -> bool:
        notes = json.dumps({"name": vm, "installation": mark, "pool": "theirs"}) if mark else ""
        self.vcenter.add([vm], folder=pool.options["folder"], annotation=notes)
        return True

    def user_of(self, pool: PoolSpec, vm: str) -> str | None:
        del pool
        return str(json.loads(self.vcenter.vm(vm)["annotation"])["token-user"])

    def _destroy(self, pool: PoolSpec, names: Sequence[str]) -> None:
        """Destroy VMs of other installations as well, which the provider refuses."""
        super()._destroy(pool, names)
        if set(names) & {known["name"] for known in self.vcenter.vms(pool.options["folder"])}:
            self.vcenter.empty(pool.options["folder"])

    def leftovers(self) -> Collection[str]:
        return self.vcenter.files()

    @contextmanager
    def large_pool(self) -> Iterator[tuple[PoolSpec, Collection[str]]]:
        names = [f"large-{number}" for number in range(LARGE)]
        self.vcenter.add(names, folder=LARGE_FOLDER)
        try:
            yield self.other_pool(), names
        finally:
            self.vcenter.empty(LARGE_FOLDER)
