"""The provider for libvirt, on real guests: the contract, and what a test driver cannot show."""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.libvirt_guests import Hypervisor, hypervisor
from tests.support.libvirt_proxy import LibvirtProxy
from vmpooler_tasks.providers import PoolSpec, Provider, ProviderContext, registry
from vmpooler_tasks.providers.contract import ProviderContract, Trouble

pytestmark = [pytest.mark.stage(name="guests"), pytest.mark.timeout(1200)]

TEMPLATE = "tiny"
POOL = PoolSpec(name="tiny", template=TEMPLATE)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypervisor]:
    with hypervisor(tmp_path_factory.mktemp("libvirt")) as own, own.entered():
        own.add_network_and_storage()
        own.add_template(TEMPLATE)
        yield own


@pytest.fixture
def provider(host: Hypervisor) -> Iterator[Any]:
    options = {"uri": host.uri, "cloud_init": True, "call_seconds": 120, "ready_seconds": 10}
    own = registry.load(
        ProviderContext(name="libvirt", options=options, redis_url="redis://127.0.0.1", installation="lab")
    )
    yield own
    own.close()


def images(host: Hypervisor) -> set[str]:
    return {path.name for path in host.images.iterdir()}


class TestContract(ProviderContract):
    many = 3
    threads = 3

    @pytest.fixture(autouse=True)
    def _connected(self, host: Hypervisor, provider: Any) -> Iterator[None]:
        self.host, self.own = host, provider
        yield
        assert host.run("virsh", "list", "--all", "--name").split() == [TEMPLATE], "each test takes away what it made"
        assert images(host) == {f"{TEMPLATE}.qcow2"}

    def provider(self) -> Provider:
        own: Provider = self.own
        return own

    def pool(self) -> PoolSpec:
        return POOL

    def other_pool(self) -> PoolSpec:
        return PoolSpec(name="other", template=TEMPLATE)

    def pool_without_template(self) -> PoolSpec:
        return PoolSpec(name="old", template="gone")

    def trouble(self, kind: Trouble) -> AbstractContextManager[PoolSpec] | None:
        """A guest takes seconds to ask for its address. The other kinds need no guest: test_libvirt_connection.py."""
        if kind is Trouble.LATE_ADDRESS:
            return nullcontext(POOL)
        return self._full_storage() if kind is Trouble.NO_QUOTA else None

    @contextmanager
    def _full_storage(self) -> Iterator[PoolSpec]:
        """Yield a pool whose storage pool has no room for an image."""
        folder = "/var/lib/libvirt/small"
        self.host.run("sh", "-ec", f"mkdir {folder}; mount -t tmpfs -o size=2m tmpfs {folder}")
        self.host.run("virsh", "pool-define-as", "small", "dir", "--target", folder)
        self.host.run("virsh", "pool-start", "small")
        self.host.run("dd", "if=/dev/zero", f"of={folder}/filler", check=False)
        yield PoolSpec(name="tiny", template=TEMPLATE, options={"storage_pool": "small"})
        self.host.run("rm", f"{folder}/filler")

    def leftovers(self) -> Collection[str]:
        return images(self.host)

    def leave_half_made(self, pool: PoolSpec, vm: str) -> bool:
        """Leave the definition, and not the volume that it lists."""
        self.own.create_vm(pool, vm)
        self.host.run("virsh", "destroy", vm)
        self.host.run("virsh", "vol-delete", f"{vm}.vda.lab.qcow2", "default")
        return True


def test_the_guest_gets_its_name_and_reports_it_with_its_lease(host: Hypervisor, provider: Any) -> None:
    made = provider.create_vm(POOL, "brave-curie")
    assert made.hostname == "brave-curie"
    assert provider.find_vm(POOL, "brave-curie") == made
    assert provider.destroy_vm(POOL, "brave-curie")


def test_the_memory_of_all_guests_is_read_with_one_call(host: Hypervisor, provider: Any, tmp_path: Path) -> None:
    proxy = LibvirtProxy(tmp_path / "proxy", host.socket)
    connection = import_module("libvirt").open(f"qemu+unix:///system?socket={proxy.path}")
    free_memory_kib = import_module("vmpooler_tasks.providers.libvirt.hosts").free_memory_kib
    total_kib = connection.getInfo()[1] * 1024
    provider.create_vm(POOL, "brave-curie")
    assert free_memory_kib(connection) <= total_kib - 128 * 1024
    assert (proxy.calls["getAllDomainStats"], proxy.calls["info"]) == (1, 0)
    assert provider.destroy_vm(POOL, "brave-curie")
    connection.close()
    proxy.close()
