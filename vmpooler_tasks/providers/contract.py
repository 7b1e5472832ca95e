"""The tests that every provider has to pass: derive from `ProviderContract` in your own tests, and run pytest.

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

`provider` and `pool` have to be given. `other_pool` and `pool_without_template` each switch on the test that needs it;
until then it is skipped. The rest has defaults that suit a provider which is quick and cheap: lower `many` for one that
is not. Each test destroys the VMs that it made; other VMs in the pool are left alone.

pytest shows the values in a failed comparison if `pytest.register_assert_rewrite("vmpooler_tasks.providers.contract")`
stands in conftest.py before the import.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.protocol import PoolSpec, Provider, Readiness, VirtualMachine

LONGEST_NAME = 63
"""Characters of a DNS label, which is what a VM's name becomes."""


class ProviderContract:
    """What to override stands first."""

    many = 32
    """VMs made at once, by `threads` threads."""

    threads = 8

    patience_seconds = 600.0
    """How long a VM may take until it is ready."""

    poll_seconds = 0.5

    def provider(self) -> Provider:
        """The provider under test; the same one whenever a test asks."""
        raise NotImplementedError("override provider()")

    def pool(self) -> PoolSpec:
        """A pool to make VMs in."""
        raise NotImplementedError("override pool()")

    def other_pool(self) -> PoolSpec | None:
        """A second pool of the same provider."""
        return None

    def pool_without_template(self) -> PoolSpec | None:
        """A pool whose template does not exist."""
        return None

    def names(self, count: int) -> list[str]:
        """Names that no other VM has."""
        run = uuid4().hex[:12]
        return [f"contract-{run}-{number}" for number in range(count)]

    def wait_until_ready(self, pool: PoolSpec, vm: str) -> None:
        deadline = time.monotonic() + self.patience_seconds
        while not (readiness := self.provider().is_ready(pool, vm)).ready:
            assert time.monotonic() < deadline, f"not ready in {self.patience_seconds} s: {readiness}"
            time.sleep(self.poll_seconds)

    def test_it_is_a_provider(self) -> None:
        assert isinstance(self.provider(), Provider), "it lacks one of the protocol's methods"

    def test_a_vm_is_made_gets_ready_and_is_destroyed(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,):
            made = provider.create_vm(pool, vm)
            assert isinstance(made, VirtualMachine), f"create_vm answered {made!r}"
            assert made.name == vm, "create_vm answered another VM"
            assert made.ip, "create_vm answers when there is an address"
            self.wait_until_ready(pool, vm)
            found = provider.find_vm(pool, vm)
            assert found is not None, "find_vm does not find what create_vm made"
            assert (found.name, found.ip) == (vm, made.ip), "find_vm found another VM than create_vm made"
            assert vm in provider.list_vms(pool), "list_vms does not show what create_vm made"
            assert provider.destroy_vm(pool, vm) is True, "destroy_vm answers True if there was a VM"
            self._assert_gone(pool, vm)

    def test_a_vm_that_is_not_there_is_not_found_not_ready_and_no_error(self) -> None:
        pool, [vm] = self.pool(), self.names(1)
        self._assert_gone(pool, vm)
        assert self.provider().destroy_vm(pool, vm) is False, "destroy_vm answers False if there was no VM"

    def test_a_vm_is_destroyed_once(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,):
            provider.create_vm(pool, vm)
            answers = [provider.destroy_vm(pool, vm) for _ in range(2)]
            assert answers == [True, False], "destroy_vm answers whether there was a VM"
            self._assert_gone(pool, vm)

    def test_a_vm_that_was_destroyed_before_it_was_ready_is_gone(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(2) as (vm, other):
            for name in (vm, other):
                provider.create_vm(pool, name)
            provider.destroy_vm(pool, vm)
            self._assert_gone(pool, vm)
            assert other in provider.list_vms(pool), "destroy_vm took another VM along"

    def test_a_vm_that_is_made_twice_is_one(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,):
            first, second = (provider.create_vm(pool, vm) for _ in range(2))
            assert first == second, "create_vm answers the VM that is there"
            assert (first.existed, second.existed) == (False, True), "create_vm says whether it made it"
            self._assert_one(pool, vm)

    def test_a_name_can_be_used_again(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,):
            provider.create_vm(pool, vm)
            provider.destroy_vm(pool, vm)
            assert provider.create_vm(pool, vm).name == vm, "create_vm answered another VM"
            self._assert_one(pool, vm)

    def test_many_threads_make_many_vms(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(self.many) as names, ThreadPoolExecutor(self.threads) as threads:
            made = list(threads.map(lambda vm: provider.create_vm(pool, vm), names))
            assert [machine.name for machine in made] == names, "create_vm answered another thread's VM"
            ours = sorted(vm for vm in provider.list_vms(pool) if vm in names)
            assert ours == sorted(names), "list_vms shows each VM once"
            assert all(threads.map(lambda vm: provider.destroy_vm(pool, vm), names)), "destroy_vm found one missing"
            left = set(names) & set(provider.list_vms(pool))
            assert not left, f"list_vms shows what is destroyed: {left}"

    def test_many_threads_that_make_the_same_vm_make_one(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,), ThreadPoolExecutor(self.threads) as threads:
            made = list(threads.map(lambda name: provider.create_vm(pool, name), [vm] * self.threads))
            assert all(machine == made[0] for machine in made), "create_vm answers the VM that is there"
            self._assert_one(pool, vm)

    def test_many_threads_that_destroy_the_same_vm_do_no_harm(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,), ThreadPoolExecutor(self.threads) as threads:
            provider.create_vm(pool, vm)
            assert any(threads.map(lambda name: provider.destroy_vm(pool, name), [vm] * self.threads)), (
                "destroy_vm answers True to one caller at least"
            )
            self._assert_gone(pool, vm)

    def test_a_name_may_have_63_characters(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(2, LONGEST_NAME) as names:
            # The end is what tells them apart, which a name that is cut off does not have.
            for vm in names:
                assert provider.create_vm(pool, vm).name == vm, "create_vm answered another VM"
            for vm in names:
                self._assert_one(pool, vm)

    def test_pools_are_separate(self) -> None:
        provider, pool = self.provider(), self.pool()
        other = _given(self.other_pool(), "other_pool")
        with self._some_vms(1) as (vm,):
            provider.create_vm(pool, vm)
            self._assert_gone(other, vm)
            assert provider.destroy_vm(other, vm) is False, "destroy_vm destroyed another pool's VM"
            self._assert_one(pool, vm)

    def test_a_template_that_does_not_exist_is_a_permanent_error(self) -> None:
        pool = _given(self.pool_without_template(), "pool_without_template")
        with self._some_vms(1, pool=pool) as (vm,):
            error = self._refusal(pool, vm)
            assert str(error).strip(), "the error says nothing, and an operator will search for what it says"
            self._assert_gone(pool, vm)

    @contextmanager
    def _some_vms(self, count: int, length: int = 0, pool: PoolSpec | None = None) -> Iterator[list[str]]:
        """Names, filled up in front to this length; what is made under them is destroyed at the end."""
        names = [vm if len(vm) >= length else "c" * (length - len(vm)) + vm for vm in self.names(count)]
        try:
            yield names
        finally:
            self._destroy(pool or self.pool(), names)

    def _destroy(self, pool: PoolSpec, names: Sequence[str]) -> None:
        for vm in names:
            self.provider().destroy_vm(pool, vm)

    def _refusal(self, pool: PoolSpec, vm: str) -> PermanentProviderError:
        try:
            made = self.provider().create_vm(pool, vm)
        except PermanentProviderError as error:
            return error
        raise AssertionError(f"create_vm made {made} of no template")

    def _assert_gone(self, pool: PoolSpec, vm: str) -> None:
        provider = self.provider()
        found = provider.find_vm(pool, vm)
        assert found is None, f"find_vm answers None of a VM that is not there, not {found}"
        readiness = provider.is_ready(pool, vm)
        assert isinstance(readiness, Readiness), f"is_ready answered {readiness!r}"
        assert not readiness.ready, "is_ready holds a VM for ready that is not there"
        assert readiness.error, "is_ready does not say why a VM is not ready"
        assert vm not in provider.list_vms(pool), "list_vms shows a VM that is not there"

    def _assert_one(self, pool: PoolSpec, vm: str) -> None:
        """Two of one name show in the list, or when one is left after the other's end."""
        provider = self.provider()
        assert list(provider.list_vms(pool)).count(vm) == 1, "list_vms shows a VM once"
        assert provider.destroy_vm(pool, vm) is True, "destroy_vm answers True if there was a VM"
        self._assert_gone(pool, vm)


def _given(pool: PoolSpec | None, hook: str) -> PoolSpec:
    if pool is None:
        import pytest  # noqa: PLC0415 - the package does not need it, whoever runs these tests has it

        pytest.skip(f"{hook}() is not given")
    return pool
