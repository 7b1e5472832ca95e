"""The dummy keeps the contract, and the contract finds a provider that does not."""

import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.support.dummy_lab import POOL, Lab
from tests.support.servers import TestServer
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.providers import Inventory, MarkedVm, PoolSpec, Provider, ProviderContext, VirtualMachine, registry
from vmpooler_tasks.providers.contract import ProviderContract, Trouble
from vmpooler_tasks.providers.dummy import inventory
from vmpooler_tasks.providers.dummy.inventory import MARKS_PREFIX, PARTS_PREFIX, PREFIX, MachinePart
from vmpooler_tasks.providers.dummy.provider import OPERATIONS, Dummy
from vmpooler_tasks.store import Database

pytestmark = [pytest.mark.both_servers, pytest.mark.slow(seconds=3)]

UNREACHED = (Trouble.UNREACHABLE, Trouble.HANGING)

TROUBLES: dict[Trouble, dict[str, Any]] = {
    Trouble.LATE_ADDRESS: {"clone_seconds": 0.2},
    Trouble.NO_ADDRESS: {"no_ip": 1.0},
    Trouble.NO_PERMISSION: {"failures": {"create": {"permanent": 1.0}}},
    Trouble.NO_QUOTA: {"failures": {"create": {"transient": 1.0}}},
    Trouble.THROTTLED: {"failures": {"create": {"throttled": 1.0}}},
}


class CutOff(Dummy):
    """Make the VM, and lose the reply."""

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        super().create_vm(pool, vm)
        raise TransientProviderError("the connection was reset by the peer")


def _url_of_nobody(stack: ExitStack, *, accepts: bool) -> str:
    """Return the address of a port that refuses connections, or accepts them and never replies."""
    listener = stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    if accepts:
        listener.listen(64)
    return f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


class TestContract(ProviderContract):
    """On both kinds of server."""

    installation = "contract"

    @pytest.fixture(autouse=True)
    def _connected(self, server: TestServer, db: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        options = {"templates": [POOL.template]}
        self.url, self.db = server.url, db
        monkeypatch.setattr(inventory, "REPLY_TIMEOUT", 0.5)
        self.own: Provider = registry.load(self._context(options))
        yield
        self.own.close()
        assert db.client.keys() == [], "each test takes away what it made"

    def _context(self, options: dict[str, Any]) -> ProviderContext:
        return ProviderContext(name="dummy", options=options, redis_url=self.url, installation=self.installation)

    def make_foreign_vm(self, pool: PoolSpec, vm: str, mark: str | None) -> bool:
        assert isinstance(self.own, Dummy)
        self.own.add_foreign_vm(pool, vm, mark)
        return True

    def _destroy(self, pool: PoolSpec, names: Sequence[str]) -> None:
        """Remove VMs of other installations as well, which the provider refuses."""
        super()._destroy(pool, names)
        for prefix in (PREFIX, MARKS_PREFIX):
            self.db.client.hdel(prefix + pool.name, *names)

    def user_of(self, pool: PoolSpec, vm: str) -> str | None:
        assert isinstance(self.own, Dummy)
        return self.own.user_of(pool, vm)

    def provider(self) -> Provider:
        return self.own

    def pool(self) -> PoolSpec:
        return POOL

    def other_pool(self) -> PoolSpec:
        return PoolSpec(name="debian-12-x86_64", template=POOL.template)

    def pool_without_template(self) -> PoolSpec:
        return PoolSpec(name="old", template="templates/gone")

    def trouble(self, kind: Trouble) -> AbstractContextManager[PoolSpec]:
        return self._troubled(kind)

    @contextmanager
    def _troubled(self, kind: Trouble) -> Iterator[PoolSpec]:
        """Put a dummy with this trouble in the place of the usual one."""
        usual = self.own
        with ExitStack() as stack:
            url = _url_of_nobody(stack, accepts=kind is Trouble.HANGING) if kind in UNREACHED else self.url
            context = replace(self._context(TROUBLES.get(kind, {})), redis_url=url)
            self.own = CutOff(context) if kind is Trouble.CUT else Dummy(context)
            stack.callback(self.own.close)
            try:
                yield POOL
            finally:
                self.own = usual
                for key in self.db.client.scan_iter(f"{PREFIX}calls:*"):
                    self.db.client.delete(key)

    def leave_half_made(self, pool: PoolSpec, vm: str) -> bool:
        """Leave the record: the dummy makes a VM in one step."""
        self.own.create_vm(pool, vm)
        return True

    def leftovers(self) -> Collection[str]:
        return [str(key) for key in self.db.client.scan_iter(f"{PARTS_PREFIX}*")]

    def large_pool(self) -> AbstractContextManager[tuple[PoolSpec, Collection[str]]]:
        return self._filled()

    @contextmanager
    def _filled(self) -> Iterator[tuple[PoolSpec, Collection[str]]]:
        pool, names = PoolSpec(name="large", template=POOL.template), self.names(2500)
        self.own.create_vm(pool, names[0])
        record = self.db.client.hget(PREFIX + pool.name, names[0])
        self.db.client.hset(PREFIX + pool.name, mapping=dict.fromkeys(names, record))
        yield pool, names
        self.db.client.delete(PREFIX + pool.name, MARKS_PREFIX + pool.name)


class TestContractWithEverythingOptional(TestContract):
    """The same where each call is counted and each VM may get lost, although none does."""

    @pytest.fixture(autouse=True)
    def _connected(self, server: TestServer, db: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        rare = {"transient": 1e-12}
        options = {
            "templates": [POOL.template],
            "failures": dict.fromkeys(OPERATIONS, rare),
            "lost": 1.0,
            "lost_after_seconds": 1000,
        }
        self.url, self.db = server.url, db
        monkeypatch.setattr(inventory, "REPLY_TIMEOUT", 0.5)
        self.own = registry.load(self._context(options))
        yield
        self.own.close()
        assert all(key.startswith(f"{PREFIX}calls:".encode()) for key in db.client.scan_iter())


FIRST_PAGE = 1000


class TwiceMade(Dummy):
    """Has every fault that a provider is tempted to have."""

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        return super().find_vm(pool, vm) or VirtualMachine(name=vm)

    def list_vms(self, pool: PoolSpec) -> Inventory:
        self.shown = {**getattr(self, "shown", {}), **dict.fromkeys(super().list_vms(pool), "wrong")}
        return dict(list(self.shown.items())[:FIRST_PAGE])

    def mark_vm(self, pool: PoolSpec, vm: str) -> bool:
        del pool, vm
        return True

    def tag_vm_user(self, pool: PoolSpec, vm: str, user: str) -> bool:
        del pool, vm, user
        return True

    def list_marked(self) -> list[MarkedVm]:
        return []

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        super().destroy_vm(pool, vm)
        return True

    def create_disk(self, pool: PoolSpec, vm: str, disk: str, size_gb: int) -> None:
        super().create_disk(pool, vm, disk, size_gb)
        self._inventory.add_part(pool.name, "nobody", MachinePart.DISK, f"{vm}-{disk}", size_gb)

    def has_disk(self, pool: PoolSpec, vm: str, disk: str) -> bool:
        del pool, vm, disk
        return True

    def has_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> bool:
        del pool, vm, snapshot
        return True


CONTRACT_TESTS = [
    name for name in dir(ProviderContract) if name.startswith("test_") and name != "test_it_is_a_provider"
]


@pytest.mark.parametrize("test", CONTRACT_TESTS)
def test_the_contract_does_not_pass_a_provider_that_breaks_it(lab: Lab, test: str) -> None:
    own = TwiceMade(ProviderContext(name="dummy", options={}, redis_url=lab.url, installation="contract"))
    lab.stack.callback(own.close)

    class Contract(TestContract):
        def provider(self) -> Provider:
            return own

    contract = Contract()
    contract.own, contract.url, contract.db = own, lab.url, lab.db
    with pytest.raises(AssertionError):
        getattr(contract, test)()


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
