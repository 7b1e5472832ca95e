"""What the provider does when libvirtd refuses, hangs, cuts and forbids: the contract's failures, on a real libvirtd.

libvirtd serves its test driver, whose domains need no time to start.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.libvirt_guests import Hypervisor, hypervisor
from tests.support.libvirt_hosts import INSTALLATION, OPTIONS, POOL, TestHost
from tests.support.libvirt_proxy import LibvirtProxy
from vmpooler_tasks.providers import PoolSpec, Provider, ProviderContext, registry
from vmpooler_tasks.providers.contract import Trouble
from vmpooler_tasks.providers.contract.failures import FailureContract

pytestmark = [pytest.mark.stage(name="guests")]

VM = "brave-curie"


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypervisor]:
    with hypervisor(tmp_path_factory.mktemp("libvirt")) as own:
        yield own


@pytest.fixture
def host(libvirtd: Hypervisor) -> Iterator[TestHost]:
    """Return a connection of the test's own, which does not lead through the proxy."""
    connection = import_module("libvirt").open(f"test+unix:///default?socket={libvirtd.socket}")
    own = TestHost(connection)
    own.reset()
    own.add_template()
    yield own
    own.reset()
    connection.close()


@pytest.fixture
def proxy(libvirtd: Hypervisor, tmp_path: Path) -> Iterator[LibvirtProxy]:
    own = LibvirtProxy(tmp_path / "proxy", libvirtd.socket)
    yield own
    own.close()


@pytest.fixture
def provider(host: TestHost, proxy: LibvirtProxy) -> Iterator[Any]:
    options = OPTIONS | {"uri": f"test+unix:///default?socket={proxy.path}", "call_seconds": 10}
    own = registry.load(ProviderContext(name="libvirt", options=options, redis_url="", installation=INSTALLATION))
    yield own
    own.close()


class TestFailures(FailureContract):
    call_seconds = 120

    @pytest.fixture(autouse=True)
    def _connected(self, libvirtd: Hypervisor, proxy: LibvirtProxy, provider: Any) -> None:
        self.libvirtd, self.proxy, self.own = libvirtd, proxy, provider

    def provider(self) -> Provider:
        own: Provider = self.own
        return own

    def pool(self) -> PoolSpec:
        return POOL

    def trouble(self, kind: Trouble) -> AbstractContextManager[PoolSpec] | None:
        read_only = self.libvirtd.socket.with_name("libvirt-sock-ro")
        contexts: dict[Trouble, Callable[[], AbstractContextManager[None]]] = {
            Trouble.UNREACHABLE: self.proxy.refusing,
            Trouble.HANGING: self.proxy.hanging,
            Trouble.CUT: self.proxy.losing_the_reply,
            Trouble.NO_PERMISSION: lambda: self.proxy.reading_only(read_only),
        }
        return _with_pool(contexts[kind]()) if kind in contexts else None


@contextmanager
def _with_pool(trouble: AbstractContextManager[None]) -> Iterator[PoolSpec]:
    with trouble:
        yield POOL


def test_a_lost_connection_is_opened_again_and_the_call_repeated(proxy: LibvirtProxy, provider: Any) -> None:
    provider.create_vm(POOL, VM)
    with proxy.refusing():
        pass
    assert provider.list_vms(POOL) == {VM: INSTALLATION}
    with proxy.refusing():
        pass
    assert provider.destroy_vm(POOL, VM) is True


def test_a_login_that_may_only_read_is_a_problem(libvirtd: Hypervisor, proxy: LibvirtProxy, provider: Any) -> None:
    assert provider.find_problems([POOL]) == []
    with proxy.reading_only(libvirtd.socket.with_name("libvirt-sock-ro")):
        [problem] = provider.find_problems([POOL])
    assert problem.pool == POOL.name
    assert "virDomainGetXMLDesc" in problem.text


def test_a_host_is_reached_over_tls(libvirtd: Hypervisor, host: TestHost) -> None:
    uri = f"test+tls://localhost/default{libvirtd.tls_options}"
    context = ProviderContext(name="libvirt", options=OPTIONS | {"uri": uri}, redis_url="", installation=INSTALLATION)
    with libvirtd.entered():
        provider = registry.load(context)
        assert provider.create_vm(POOL, VM).host == "localhost"
        assert VM in host.domains
        assert provider.destroy_vm(POOL, VM)
        provider.close()
