"""The provider for libvirt, on real guests: the contract, and what a test driver cannot show."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.libvirt_guests import Hypervisor, hypervisor
from tests.support.libvirt_proxy import LibvirtProxy
from vmpooler_tasks.providers import PoolSpec, Provider, ProviderContext, registry
from vmpooler_tasks.providers.contract import ProviderContract, Trouble

pytestmark = [pytest.mark.stage(name="guests"), pytest.mark.timeout(1200)]

TEMPLATE, WITH_AGENT = "tiny", "tiny-with-agent"
POOL = PoolSpec(name="tiny", template=TEMPLATE)
INSTALLATION = "lab"

Load = Callable[..., Any]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypervisor]:
    with hypervisor(tmp_path_factory.mktemp("libvirt")) as own, own.entered():
        own.add_network_and_storage()
        own.add_template(TEMPLATE)
        own.add_template(WITH_AGENT, with_agent=True)
        yield own


@pytest.fixture
def load(host: Hypervisor) -> Iterator[Load]:
    """Return a function that loads the provider, with more options or of another installation."""
    usual = {"uri": host.uri, "cloud_init": True, "call_seconds": 120, "ready_seconds": 10}
    with ExitStack() as stack:

        def loaded(installation: str = INSTALLATION, **options: Any) -> Any:
            context = ProviderContext(
                name="libvirt", options=usual | options, redis_url="redis://127.0.0.1", installation=installation
            )
            own = registry.load(context)
            stack.callback(own.close)
            return own

        yield loaded


@pytest.fixture
def provider(load: Load) -> Any:
    return load()


def images(host: Hypervisor) -> set[str]:
    return {path.name for path in host.images.iterdir()}


class TestContract(ProviderContract):
    many = 3
    threads = 3
    installation = INSTALLATION

    @pytest.fixture(autouse=True)
    def _connected(self, host: Hypervisor, load: Load) -> Iterator[None]:
        self.host, self.load, self.own = host, load, load()
        yield
        left = set(host.run("virsh", "list", "--all", "--name").split())
        assert left == {TEMPLATE, WITH_AGENT}, "each test takes away what it made"
        assert images(host) == {f"{name}.qcow2" for name in (TEMPLATE, WITH_AGENT)}

    def provider(self) -> Provider:
        own: Provider = self.own
        return own

    def pool(self) -> PoolSpec:
        return POOL

    def other_pool(self) -> PoolSpec:
        return PoolSpec(name="other", template=TEMPLATE)

    def pool_without_template(self) -> PoolSpec:
        return PoolSpec(name="old", template="gone")

    def make_foreign_vm(self, pool: PoolSpec, vm: str, mark: str | None) -> bool:
        """Make a person's domain without a disk, or a VM of another installation."""
        if mark is None:
            self.host.virsh(
                "define",
                f"<domain type='qemu'><name>{vm}</name><memory>1024</memory><os><type>hvm</type></os></domain>",
            )
        else:
            self.load(mark).create_vm(pool, vm)
        return True

    def _destroy(self, pool: PoolSpec, names: Sequence[str]) -> None:
        """Remove the domains of others first: the provider does not."""
        for vm in names:
            mark = self.own.list_vms(pool).get(vm)
            if mark not in (None, INSTALLATION):
                assert self.load(mark).destroy_vm(pool, vm)
        super()._destroy(pool, names)
        for vm in names:
            self.host.run("virsh", "undefine", vm, check=False)

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
        self.host.run("virsh", "vol-delete", f"{vm}.vda.{INSTALLATION}.qcow2", "default")
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


@pytest.mark.parametrize("source", ["lease", "agent"])  # arp: libvirt 9 cannot read the table of a newer kernel
def test_each_source_has_the_address_and_the_name_of_a_guest(host: Hypervisor, load: Load, source: str) -> None:
    pool, provider = PoolSpec(name="tiny", template=WITH_AGENT), load(address_sources=[source])
    made = provider.create_vm(pool, "calm-euler")
    assert made.hostname == "calm-euler"
    assert made.ip in host.run("virsh", "net-dhcp-leases", "default")
    assert provider.find_vm(pool, "calm-euler").ip == made.ip
    assert provider.destroy_vm(pool, "calm-euler")
