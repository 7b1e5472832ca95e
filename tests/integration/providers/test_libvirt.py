"""The provider for libvirt, on libvirt's test driver: the contract, and what only this provider does."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any

import pytest

from tests.support.libvirt_hosts import (
    INSTALLATION,
    OPTIONS,
    POOL,
    TEMPLATE,
    TestHost,
    default_host,
    load,
    require_library,
)
from vmpooler_tasks.errors import ConfigurationError, PermanentProviderError, TransientProviderError
from vmpooler_tasks.providers import (
    CheckedProvider,
    DiskProvider,
    MarkedVm,
    MarkingProvider,
    PoolSpec,
    Provider,
    SnapshotProvider,
)
from vmpooler_tasks.providers.contract import ProviderContract, Trouble

pytestmark = [pytest.mark.stage(name="guests")]

VM = "brave-curie"
OTHER_POOL = PoolSpec(name="other", template=TEMPLATE)


@pytest.fixture
def host() -> Iterator[TestHost]:
    require_library()
    with default_host() as own:
        yield own


@pytest.fixture
def provider(host: TestHost) -> Iterator[Any]:
    own = load()
    yield own
    own.close()


class TestContract(ProviderContract):
    """On one host. The test driver cannot attach a disk to a domain: real guests have the tests of disks."""

    poll_seconds = 0.01
    installation = INSTALLATION

    @pytest.fixture(autouse=True)
    def _connected(self, host: TestHost) -> Iterator[None]:
        self.host, self.own = host, load()
        yield
        self.own.close()
        assert host.domains == [TEMPLATE, "test"], "each test takes away what it made"
        assert host.volumes == [f"{TEMPLATE}.qcow2"]

    def provider(self) -> Provider:
        own: Provider = self.own
        return own

    def pool(self) -> PoolSpec:
        return POOL

    def other_pool(self) -> PoolSpec:
        return OTHER_POOL

    def pool_without_template(self) -> PoolSpec:
        return PoolSpec(name="old", template="gone")

    def make_foreign_vm(self, pool: PoolSpec, vm: str, mark: str | None) -> bool:
        """Make a person's domain, which has no metadata of ours, or one of another installation."""
        if mark is None:
            self.host.add_domain(vm)
        else:
            other = load(mark)
            other.create_vm(pool, vm)
            other.close()
        return True

    def _destroy(self, pool: PoolSpec, names: Sequence[str]) -> None:
        """Remove the domains of others first: the provider does not."""
        for vm in names:
            mark = self.own.list_vms(pool).get(vm)
            if mark not in (None, INSTALLATION):
                other = load(mark)
                assert other.destroy_vm(pool, vm)
                other.close()
        super()._destroy(pool, names)
        self.host.remove_domains(names)

    def leftovers(self) -> Collection[str]:
        return self.host.volumes

    def leave_half_made(self, pool: PoolSpec, vm: str) -> bool:
        """Leave the definition, and not the volume that it lists."""
        self.own.create_vm(pool, vm)
        self.host.connection.lookupByName(vm).destroy()
        self.host.storage.storageVolLookupByName(f"{vm}.vda.{INSTALLATION}.qcow2").delete()
        return True

    @contextmanager
    def large_pool(self) -> Iterator[tuple[PoolSpec, Collection[str]]]:
        pool = PoolSpec(name="large", template=TEMPLATE)
        names = [f"vm-{number}" for number in range(2500)]
        for vm in names:
            mark = f"name='{vm}' pool='large' installation='lab'"
            self.host.add_domain(vm, metadata=f"<v:vm xmlns:v='urn:vmpooler-tasks:vm' {mark}/>")
        try:
            yield pool, names
        finally:
            self.host.remove_domains(names)

    def trouble(self, kind: Trouble) -> AbstractContextManager[PoolSpec] | None:
        return self._deaf_pool() if kind is Trouble.NO_ADDRESS else None

    @contextmanager
    def _deaf_pool(self) -> Iterator[PoolSpec]:
        """Yield a pool whose template has no network interface: its clones get no address."""
        patient, self.own = self.own, load(address_seconds=0.2)
        self.host.add_domain("deaf")
        try:
            yield PoolSpec(name="deaf", template="deaf")
        finally:
            self.host.remove_domains(["deaf"])
            self.own.close()
            self.own = patient

    def test_a_disk_is_added_and_found_by_its_name(self) -> None:
        pytest.skip("the test driver cannot attach a disk")

    def test_nothing_is_left_of_a_vm(self) -> None:
        pytest.skip("the test driver cannot attach a disk")


def test_it_has_all_optional_methods(provider: Any) -> None:
    for protocol in (CheckedProvider, DiskProvider, MarkingProvider, SnapshotProvider):
        assert isinstance(provider, protocol)


def test_a_person_s_own_domain_is_never_seen_changed_or_destroyed(host: TestHost, provider: Any) -> None:
    """It has a name of the pool's form, and a volume beside those of the pool."""
    host.add_template(VM)
    before = host.connection.lookupByName(VM).XMLDesc()
    assert provider.create_vm(POOL, VM).existed
    assert provider.list_vms(POOL) == {}
    assert provider.find_vm(POOL, VM) is None
    assert not provider.is_ready(POOL, VM).ready
    assert provider.destroy_vm(POOL, VM) is False
    assert provider.destroy_marked(MarkedVm(name=VM, pool=POOL.name)) is False
    assert host.connection.lookupByName(VM).XMLDesc() == before
    assert not host.connection.lookupByName(VM).isActive()
    assert host.volumes == sorted([f"{TEMPLATE}.qcow2", f"{VM}.qcow2"])


def test_an_adopted_domain_is_destroyed_without_its_volumes(host: TestHost, provider: Any) -> None:
    """They were not made for the VM."""
    host.add_template(VM)
    assert provider.mark_vm(POOL, VM) is True
    assert provider.list_vms(POOL) == {VM: INSTALLATION}
    assert provider.list_marked() == [MarkedVm(name=VM, pool=POOL.name)]
    assert provider.destroy_vm(POOL, VM) is True
    assert VM not in host.domains
    assert f"{VM}.qcow2" in host.volumes


def test_a_copy_of_a_vm_has_no_mark_and_the_volumes_of_the_vm_stay(host: TestHost, provider: Any) -> None:
    """Whoever copies a domain copies its metadata, with the volumes of the original."""
    provider.create_vm(POOL, VM)
    text = host.connection.lookupByName(VM).XMLDesc()
    copied = re.sub(r"<uuid>.*</uuid>", "", text).replace(f"<name>{VM}</name>", "<name>persons-copy</name>")
    host.connection.defineXML(copied)
    before = host.volumes
    assert provider.list_vms(POOL) == {VM: INSTALLATION}
    assert provider.list_marked() == [MarkedVm(name=VM, pool=POOL.name)]
    assert provider.destroy_vm(POOL, "persons-copy") is False
    assert provider.destroy_marked(MarkedVm(name="persons-copy", pool=POOL.name)) is False
    assert (host.volumes, "persons-copy" in host.domains) == (before, True)
    host.remove_domains(["persons-copy"])


def test_a_vm_of_another_installation_is_shown_with_its_mark_and_stays(host: TestHost, provider: Any) -> None:
    other = load("elsewhere")
    other.create_vm(POOL, VM)
    assert provider.list_vms(POOL) == {VM: "elsewhere"}
    assert provider.list_marked() == []
    assert provider.create_vm(POOL, VM).existed
    assert provider.destroy_marked(MarkedVm(name=VM, pool=POOL.name)) is False
    for call in (provider.destroy_vm, provider.mark_vm):
        with pytest.raises(PermanentProviderError, match="mark of installation elsewhere"):
            call(POOL, VM)
    assert VM in host.domains
    other.destroy_vm(POOL, VM)
    other.close()


def test_without_an_installation_nothing_is_marked_until_one_is_set(host: TestHost, provider: Any) -> None:
    nameless = load("")
    nameless.create_vm(POOL, VM)
    assert nameless.list_vms(POOL) == {VM: None}
    assert nameless.list_marked() == []
    with pytest.raises(PermanentProviderError, match="sets no installation"):
        nameless.mark_vm(POOL, VM)
    assert provider.mark_vm(OTHER_POOL, VM) is False, "it belongs to another pool"
    assert provider.mark_vm(POOL, "missing") is False
    assert provider.mark_vm(POOL, VM) is True
    assert provider.list_vms(POOL) == {VM: INSTALLATION}
    assert provider.destroy_marked(MarkedVm(name=VM, pool=POOL.name)) is True
    assert host.volumes == [f"{TEMPLATE}.qcow2"], "the volume was made for the VM, before it had the mark"
    nameless.close()


def test_a_vm_that_was_half_made_is_completed(host: TestHost, provider: Any) -> None:
    """A worker died after the definition, which is made first, or after the volume."""
    for has_volume in (False, True):
        provider.create_vm(POOL, VM)
        domain = host.connection.lookupByName(VM)
        domain.destroy()
        if not has_volume:
            host.storage.storageVolLookupByName(f"{VM}.vda.{INSTALLATION}.qcow2").delete()
        made = provider.create_vm(POOL, VM)
        assert (made.existed, bool(made.ip)) == (True, True)
        assert host.connection.lookupByName(VM).isActive()
        assert f"{VM}.vda.{INSTALLATION}.qcow2" in host.volumes
        assert provider.destroy_vm(POOL, VM)
    assert host.volumes == [f"{TEMPLATE}.qcow2"]


def test_a_destruction_that_was_cut_off_is_repeated(host: TestHost, provider: Any) -> None:
    provider.create_vm(POOL, VM)
    host.connection.lookupByName(VM).destroy()
    host.storage.storageVolLookupByName(f"{VM}.vda.{INSTALLATION}.qcow2").delete()
    assert provider.destroy_vm(POOL, VM) is True
    assert VM not in host.domains


def test_a_volume_of_the_vm_s_name_is_not_overwritten(host: TestHost, provider: Any) -> None:
    host.add_volume(f"{VM}.vda.{INSTALLATION}.qcow2")
    with pytest.raises(PermanentProviderError, match="no such VM: the volume is somebody else's") as refused:
        provider.create_vm(POOL, VM)
    assert VM not in str(refused.value)
    assert VM not in host.domains
    assert f"{VM}.vda.{INSTALLATION}.qcow2" in host.volumes


def test_a_template_that_runs_is_refused(host: TestHost, provider: Any) -> None:
    """Its disks change while its clones are based on them."""
    host.connection.lookupByName(TEMPLATE).create()
    with pytest.raises(PermanentProviderError, match=f"template {TEMPLATE} is running: shut it off"):
        provider.create_vm(POOL, VM)
    assert VM not in host.domains


def test_nothing_is_left_of_a_vm_that_cannot_be_completed(host: TestHost, provider: Any) -> None:
    """A disk is full in mid-clone."""
    clones: Any = import_module("vmpooler_tasks.providers.libvirt.clones").Clone
    complete = clones.complete

    def fail(self: Any, own: Any, *, copies: bool) -> None:
        complete(self, own, copies=copies)
        raise PermanentProviderError("no space left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clones, "complete", fail)
        with pytest.raises(PermanentProviderError, match="no space left"):
            provider.create_vm(POOL, VM)
    assert (VM in host.domains, host.volumes) == (False, [f"{TEMPLATE}.qcow2"])


def test_a_vm_that_stops_has_another_attempt(host: TestHost, provider: Any) -> None:
    """It has an address as long as it runs; without one it is not waited for."""
    provider.create_vm(POOL, VM)
    host.connection.lookupByName(VM).destroy()
    assert provider.find_vm(POOL, VM).ip is None
    assert provider.is_ready(POOL, VM).error == "the VM does not run: it is shut off"


def test_all_problems_are_found_at_once(host: TestHost, provider: Any) -> None:
    host.connection.networkLookupByName("default").destroy()
    pools = [
        POOL,
        PoolSpec(name="no template"),
        PoolSpec(name="missing", template="gone"),
        PoolSpec(name="runs", template="test"),
        PoolSpec(name="elsewhere", template=TEMPLATE, clone_target="other-host"),
        PoolSpec(name="options", template=TEMPLATE, options={"ready_port": "ssh", "storage_pool": ""}),
        PoolSpec(name="storage", template=TEMPLATE, options={"storage_pool": "gone"}),
    ]
    found = [(problem.pool, problem.text) for problem in provider.find_problems(pools)]
    expected = [
        ("debian", "network default is not active: virsh net-start default"),
        ("no template", "the pool has no template"),
        ("missing", "template gone does not exist: no host (localhost) has a domain of this name"),
        ("runs", "template test is running: shut it off"),
        ("elsewhere", "clone_target other-host is no host of this provider (localhost)"),
        ("options", "ready_port: "),
        ("options", "storage_pool: "),
        ("storage", "no storage pool with matching name 'gone'"),
    ]
    for pool, text in expected:
        assert any(name == pool and text in words for name, words in found), (pool, text, found)


def test_a_host_that_cannot_be_reached_is_a_problem_and_a_transient_error(host: TestHost) -> None:
    provider = load(uri=None, hosts={"near": OPTIONS["uri"], "far": "qemu+unix:///system?socket=/nowhere/libvirt-sock"})
    [problem] = provider.find_problems([POOL])
    assert problem.text.startswith("far: ")
    assert "Failed to connect socket to '/nowhere/libvirt-sock'" in problem.text
    calls: tuple[Callable[[], object], ...] = (
        lambda: provider.list_vms(POOL),
        lambda: provider.create_vm(POOL, VM),
    )
    for call in calls:
        with pytest.raises(TransientProviderError, match="far: Failed to connect"):
            call()
    assert VM not in host.domains, "it may be on the host that does not reply"
    provider.close()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"uri": "somewhere"}, "providers.libvirt.uri: must be a URI of libvirt"),
        ({"uri": "qemu+tls://me:s3cret@host/system"}, "providers.libvirt.uri: must not have a password"),
        ({"hosts": {"a": "qemu:///system"}}, "must have uri or hosts, not both"),
        ({"password": "s3cret"}, "must have a username if it has a password"),
        ({"ready_port": 70000}, "providers.libvirt.ready_port: must be less than or equal to 65535"),
        ({"address_sources": ["dns"]}, "providers.libvirt.address_sources[0]: must be 'lease', 'agent' or 'arp'"),
        ({"storage": "x"}, "providers.libvirt.storage: unknown option"),
    ],
)
def test_wrong_options_are_named_without_their_values(host: TestHost, options: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(**options)
    assert line in "\n".join(refused.value.problems)
    assert "s3cret" not in str(refused.value)


def test_the_options_of_every_provider_are_accepted(host: TestHost) -> None:
    load(provider_class="libvirt", purge_unconfigured_resources=True, resources_allowlist=["mine"]).close()


def test_a_hundred_threads_have_one_connection(host: TestHost, provider: Any) -> None:
    connected = provider._hosts.all[0]
    with ThreadPoolExecutor(100) as threads:
        found = list(threads.map(lambda _: connected.call(lambda connection: connection), range(300)))
    assert all(connection is found[0] for connection in found)
