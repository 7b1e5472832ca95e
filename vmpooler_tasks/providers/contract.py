"""The tests that every provider must pass. Derive from `ProviderContract` in your own tests, and run pytest.

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

Define `provider` and `pool`. `other_pool` and `pool_without_template` each enable one more test, which is otherwise
skipped. A provider that has no disks or no snapshots skips the tests of these. The other defaults are for a provider
that is fast and cheap: lower `many` if yours is not. Each test destroys the VMs that it made, and does not touch other
VMs in the pool.

To see the values in a failed comparison, call
`pytest.register_assert_rewrite("vmpooler_tasks.providers.contract")` in conftest.py before the import.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest import SkipTest
from uuid import uuid4

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.protocol import (
    DiskProvider,
    PoolSpec,
    Provider,
    Readiness,
    SnapshotProvider,
    VirtualMachine,
)

MAX_NAME_LENGTH = 63
"""Maximum length of a DNS label. The name of a VM becomes one."""


class ProviderContract:
    """Override the attributes and methods at the top."""

    many = 32
    """Number of VMs to make at once, with `threads` threads."""

    threads = 8

    patience_seconds = 600.0
    """Maximum time for a VM to become ready."""

    poll_seconds = 0.5

    def provider(self) -> Provider:
        """Return the provider under test, always the same one."""
        raise NotImplementedError("override provider()")

    def pool(self) -> PoolSpec:
        """Return a pool to make VMs in."""
        raise NotImplementedError("override pool()")

    def other_pool(self) -> PoolSpec | None:
        """Return a second pool of the same provider."""
        return None

    def pool_without_template(self) -> PoolSpec | None:
        """Return a pool whose template does not exist."""
        return None

    def names(self, count: int) -> list[str]:
        """Return names that no other VM has."""
        run = uuid4().hex[:12]
        return [f"contract-{run}-{number}" for number in range(count)]

    def wait_until_ready(self, pool: PoolSpec, vm: str) -> None:
        deadline = time.monotonic() + self.patience_seconds
        while not (readiness := self.provider().is_ready(pool, vm)).ready:
            assert time.monotonic() < deadline, f"not ready in {self.patience_seconds} s: {readiness}"
            time.sleep(self.poll_seconds)

    def test_it_is_a_provider(self) -> None:
        assert isinstance(self.provider(), Provider), "it has not all methods of the protocol"

    def test_a_vm_is_made_gets_ready_and_is_destroyed(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,):
            made = provider.create_vm(pool, vm)
            assert isinstance(made, VirtualMachine), f"create_vm returned {made!r}"
            assert made.name == vm, "create_vm returned another VM"
            assert made.ip, "create_vm returns when there is an address"
            self.wait_until_ready(pool, vm)
            found = provider.find_vm(pool, vm)
            assert found is not None, "find_vm does not find what create_vm made"
            assert (found.name, found.ip) == (vm, made.ip), "find_vm found another VM than create_vm made"
            assert vm in provider.list_vms(pool), "list_vms does not show what create_vm made"
            assert provider.destroy_vm(pool, vm) is True, "destroy_vm returns True if there was a VM"
            self._assert_gone(pool, vm)

    def test_a_vm_that_is_not_there_is_not_found_not_ready_and_no_error(self) -> None:
        pool, [vm] = self.pool(), self.names(1)
        self._assert_gone(pool, vm)
        assert self.provider().destroy_vm(pool, vm) is False, "destroy_vm returns False if there was no VM"

    def test_a_vm_is_destroyed_once(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,):
            provider.create_vm(pool, vm)
            replies = [provider.destroy_vm(pool, vm) for _ in range(2)]
            assert replies == [True, False], "destroy_vm returns whether there was a VM"
            self._assert_gone(pool, vm)

    def test_a_vm_that_was_destroyed_before_it_was_ready_is_gone(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(2) as (vm, other):
            for name in (vm, other):
                provider.create_vm(pool, name)
            provider.destroy_vm(pool, vm)
            self._assert_gone(pool, vm)
            assert other in provider.list_vms(pool), "destroy_vm destroyed another VM, too"

    def test_a_vm_that_is_made_twice_is_one(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,):
            first, second = (provider.create_vm(pool, vm) for _ in range(2))
            assert first == second, "create_vm returns the existing VM"
            assert (first.existed, second.existed) == (False, True), (
                "create_vm sets `existed` if it did not make the VM"
            )
            self._assert_one(pool, vm)

    def test_a_name_can_be_used_again(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,):
            provider.create_vm(pool, vm)
            provider.destroy_vm(pool, vm)
            assert provider.create_vm(pool, vm).name == vm, "create_vm returned another VM"
            self._assert_one(pool, vm)

    def test_many_threads_make_many_vms(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(self.many) as names, ThreadPoolExecutor(self.threads) as threads:
            made = list(threads.map(lambda vm: provider.create_vm(pool, vm), names))
            assert [machine.name for machine in made] == names, "create_vm returned the VM of another thread"
            ours = sorted(vm for vm in provider.list_vms(pool) if vm in names)
            assert ours == sorted(names), "list_vms shows each VM once"
            assert all(threads.map(lambda vm: provider.destroy_vm(pool, vm), names)), "destroy_vm found one missing"
            left = set(names) & set(provider.list_vms(pool))
            assert not left, f"list_vms shows destroyed VMs: {left}"

    def test_many_threads_that_make_the_same_vm_make_one(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,), ThreadPoolExecutor(self.threads) as threads:
            made = list(threads.map(lambda name: provider.create_vm(pool, name), [vm] * self.threads))
            assert all(machine == made[0] for machine in made), "create_vm returns the existing VM"
            self._assert_one(pool, vm)

    def test_many_threads_that_destroy_the_same_vm_do_no_harm(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(1) as (vm,), ThreadPoolExecutor(self.threads) as threads:
            provider.create_vm(pool, vm)
            assert any(threads.map(lambda name: provider.destroy_vm(pool, name), [vm] * self.threads)), (
                "destroy_vm returns True to at least one caller"
            )
            self._assert_gone(pool, vm)

    def test_a_name_may_have_63_characters(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self._some_vms(2, MAX_NAME_LENGTH) as names:
            # The names differ only at their end, which a truncated name does not have.
            for vm in names:
                assert provider.create_vm(pool, vm).name == vm, "create_vm returned another VM"
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
            assert str(error).strip(), "the error has no message, but operators search for it"
            self._assert_gone(pool, vm)

    def test_a_disk_is_added_and_found_by_its_name(self) -> None:
        provider, pool = self.provider(), self.pool()
        if not isinstance(provider, DiskProvider):
            raise SkipTest("it has no disks")
        with self._some_vms(2) as (vm, other):
            for name in (vm, other):
                provider.create_vm(pool, name)
            assert provider.has_disk(pool, vm, "first") is False, "has_disk finds a disk that was never added"
            provider.create_disk(pool, vm, "first", 1)
            provider.create_disk(pool, vm, "second", 1)
            assert all(provider.has_disk(pool, vm, disk) for disk in ("first", "second")), "has_disk misses a disk"
            assert not provider.has_disk(pool, other, "first"), "create_disk added the disk to another VM, too"
            provider.destroy_vm(pool, vm)
            provider.create_vm(pool, vm)
            assert not provider.has_disk(pool, vm, "first"), "a new VM has the disks of a VM that was destroyed"

    def test_a_snapshot_is_made_found_by_its_name_and_reverted_to(self) -> None:
        provider, pool = self.provider(), self.pool()
        if not isinstance(provider, SnapshotProvider):
            raise SkipTest("it has no snapshots")
        with self._some_vms(2) as (vm, other):
            for name in (vm, other):
                provider.create_vm(pool, name)
            assert provider.has_snapshot(pool, vm, "before") is False, "has_snapshot finds one that was never made"
            provider.create_snapshot(pool, vm, "before")
            assert provider.has_snapshot(pool, vm, "before") is True, "has_snapshot misses a snapshot"
            assert not provider.has_snapshot(pool, other, "before"), "create_snapshot made one of another VM, too"
            provider.revert_snapshot(pool, vm, "before")
            assert provider.has_snapshot(pool, vm, "before"), "revert_snapshot removed the snapshot"
            assert _is_refused(lambda: provider.revert_snapshot(pool, other, "before")), (
                "revert_snapshot raises PermanentProviderError if there is no such snapshot"
            )

    def test_disks_and_snapshots_of_a_vm_that_is_not_there_are_permanent_errors(self) -> None:
        provider, pool, [vm] = self.provider(), self.pool(), self.names(1)
        calls: list[Callable[[], object]] = []
        if isinstance(provider, DiskProvider):
            disks = provider
            calls += [lambda: disks.has_disk(pool, vm, "first"), lambda: disks.create_disk(pool, vm, "first", 1)]
        if isinstance(provider, SnapshotProvider):
            snapshots = provider
            calls += [
                lambda: snapshots.has_snapshot(pool, vm, "before"),
                lambda: snapshots.create_snapshot(pool, vm, "before"),
                lambda: snapshots.revert_snapshot(pool, vm, "before"),
            ]
        if not calls:
            raise SkipTest("it has no disks and no snapshots")
        assert all(map(_is_refused, calls)), "a call about a missing VM raises VmNotFoundError"

    @contextmanager
    def _some_vms(self, count: int, length: int = 0, pool: PoolSpec | None = None) -> Iterator[list[str]]:
        """Yield names, padded in front to this length. Destroy the VMs with these names at the end."""
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
        raise AssertionError(f"create_vm made {made} without a template")

    def _assert_gone(self, pool: PoolSpec, vm: str) -> None:
        provider = self.provider()
        found = provider.find_vm(pool, vm)
        assert found is None, f"find_vm must return None for a missing VM, not {found}"
        readiness = provider.is_ready(pool, vm)
        assert isinstance(readiness, Readiness), f"is_ready returned {readiness!r}"
        assert not readiness.ready, "is_ready reports a missing VM as ready"
        assert readiness.error, "is_ready does not say why a VM is not ready"
        assert vm not in provider.list_vms(pool), "list_vms shows a missing VM"

    def _assert_one(self, pool: PoolSpec, vm: str) -> None:
        """Check that there is one VM of this name: in the list, and after it is destroyed."""
        provider = self.provider()
        assert list(provider.list_vms(pool)).count(vm) == 1, "list_vms shows a VM once"
        assert provider.destroy_vm(pool, vm) is True, "destroy_vm returns True if there was a VM"
        self._assert_gone(pool, vm)


def _is_refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except PermanentProviderError:
        return True
    return False


def _given(pool: PoolSpec | None, hook: str) -> PoolSpec:
    if pool is None:
        raise SkipTest(f"{hook}() is not given")  # pytest skips as well
    return pool
