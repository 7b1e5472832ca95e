"""The tests of what goes wrong: late addresses, refusals, broken connections, half-made VMs, incomplete inventories."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest import SkipTest

from vmpooler_tasks.errors import (
    PermanentProviderError,
    ProviderError,
    ThrottledProviderError,
    TransientProviderError,
)
from vmpooler_tasks.providers.contract.hooks import ContractHooks, Trouble, given
from vmpooler_tasks.providers.protocol import DiskProvider, PoolSpec, SnapshotProvider

MIN_LARGE_POOL = 2500


class FailureContract(ContractHooks):
    """Each kind of failure is an error of its class, and nothing is lost, forgotten or made twice."""

    def test_an_address_that_is_late_is_waited_for(self) -> None:
        with self._vm_in_trouble(Trouble.LATE_ADDRESS) as (pool, vm):
            made = self.provider().create_vm(pool, vm)
            assert made.ip, "create_vm returns when there is an address"
            self.assert_one(pool, vm)

    def test_a_vm_that_gets_no_address_is_returned_without_one(self) -> None:
        with self._vm_in_trouble(Trouble.NO_ADDRESS) as (pool, vm):
            start = time.monotonic()
            made = self.provider().create_vm(pool, vm)
            assert time.monotonic() - start <= self.call_seconds, "create_vm waits for an address for too long"
            assert made.ip is None, f"create_vm returned {made!r}"
            found = self.provider().find_vm(pool, vm)
            assert found is not None, "find_vm does not find a VM without an address"
            self.assert_one(pool, vm)

    def test_a_missing_permission_is_a_permanent_error(self) -> None:
        self._check_refusal(Trouble.NO_PERMISSION, PermanentProviderError)

    def test_an_exhausted_quota_is_an_error_of_the_provider(self) -> None:
        self._check_refusal(Trouble.NO_QUOTA, ProviderError)

    def test_too_many_calls_are_a_throttled_error(self) -> None:
        self._check_refusal(Trouble.THROTTLED, ThrottledProviderError)

    def test_without_a_connection_no_call_guesses(self) -> None:
        self._check_no_call_guesses(Trouble.UNREACHABLE)

    def test_without_a_reply_each_call_ends(self) -> None:
        start = time.monotonic()
        self._check_no_call_guesses(Trouble.HANGING)
        assert time.monotonic() - start <= 2 * self.call_seconds, "a call without a reply takes too long"

    def test_a_clone_whose_connection_is_cut_is_made_once(self) -> None:
        with self.some_vms(1) as (vm,):
            with given(self.trouble(Trouble.CUT), f"trouble({Trouble.CUT!r})") as pool:
                error = _error_of(lambda: self.provider().create_vm(pool, vm))
                assert error is None or isinstance(error, TransientProviderError), f"create_vm raised {error!r}"
            assert self.provider().create_vm(pool, vm).ip, "a repeated create_vm returns the VM with its address"
            self.assert_one(pool, vm)

    def test_a_vm_that_was_left_half_made_is_completed(self) -> None:
        pool = self.pool()
        with self.some_vms(1) as (vm,):
            before = self.leftovers()
            if not self.leave_half_made(pool, vm):
                raise SkipTest("leave_half_made() is not given")
            made = self.provider().create_vm(pool, vm)
            assert (made.name, bool(made.ip)) == (vm, True), f"create_vm returned {made!r}"
            self.wait_until_ready(pool, vm)
            self.assert_one(pool, vm)
            assert before == self.leftovers(), "destroy_vm leaves something of a VM that was made in two attempts"

    def test_a_vm_that_was_left_half_made_is_destroyed_with_all_its_parts(self) -> None:
        pool = self.pool()
        with self.some_vms(1) as (vm,):
            before = self.leftovers()
            if not self.leave_half_made(pool, vm):
                raise SkipTest("leave_half_made() is not given")
            self.provider().destroy_vm(pool, vm)
            self.assert_gone(pool, vm)
            assert before == self.leftovers(), "destroy_vm leaves something of a half-made VM"

    def test_nothing_is_left_of_a_vm(self) -> None:
        provider, pool, before = self.provider(), self.pool(), given(self.leftovers(), "leftovers()")
        with self.some_vms(2) as (vm, other):
            provider.create_vm(pool, other)
            kept = self.leftovers()
            provider.create_vm(pool, vm)
            if isinstance(provider, DiskProvider):
                provider.create_disk(pool, vm, "first", 1)
            if isinstance(provider, SnapshotProvider):
                provider.create_snapshot(pool, vm, "before")
            provider.destroy_vm(pool, vm)
            assert self.leftovers() == kept, "destroy_vm leaves something of the VM, or removes parts of another one"
            provider.destroy_vm(pool, other)
            assert self.leftovers() == before, "destroy_vm leaves something of the VM"

    def test_thousands_of_vms_are_all_in_the_inventory(self) -> None:
        with given(self.large_pool(), "large_pool()") as (pool, names):
            assert len(names) >= MIN_LARGE_POOL, f"large_pool() has only {len(names)} VMs"
            start = time.monotonic()
            listed = self.provider().list_vms(pool)
            took = time.monotonic() - start
            missing = set(names) - set(listed)
            assert not missing, f"list_vms lacks {len(missing)} of {len(names)} VMs"
            assert set(listed) == set(names), "list_vms shows VMs of other pools"
            assert took <= self.inventory_seconds, f"list_vms took {took:.0f} s"

    @contextmanager
    def _vm_in_trouble(self, kind: Trouble) -> Iterator[tuple[PoolSpec, str]]:
        """Yield the pool and a name for a VM, which is destroyed at the end, after the trouble."""
        context = given(self.trouble(kind), f"trouble({kind!r})")
        with self.some_vms(1) as (vm,), context as pool:
            yield pool, vm

    def _check_refusal(self, kind: Trouble, expected: type[ProviderError]) -> None:
        """Check that a clone fails with an error of this class, that leaves nothing, and that the next one succeeds."""
        with self.some_vms(1) as (vm,):
            with given(self.trouble(kind), f"trouble({kind!r})") as pool:
                error = _error_of(lambda: self.provider().create_vm(pool, vm))
                assert isinstance(error, expected), f"create_vm must raise {expected.__name__}, and not {error!r}"
                assert str(error).strip(), "the error has no message, but operators search for it"
                assert vm not in str(error), "the error has the name of the VM in it: equal failures must be equal"
            self.assert_gone(pool, vm)
            assert self.provider().create_vm(pool, vm).name == vm, "create_vm returned another VM"
            self.assert_one(pool, vm)

    def _check_no_call_guesses(self, kind: Trouble) -> None:
        """Check that each call raises TransientProviderError, and that the VM is still there afterwards."""
        with self.some_vms(2) as (vm, other):
            self.provider().create_vm(self.pool(), vm)
            with given(self.trouble(kind), f"trouble({kind!r})") as pool, ThreadPoolExecutor(8) as threads:
                calls = self._calls(pool, vm, other)
                errors = dict(zip(calls, threads.map(_error_of, calls.values()), strict=True))
            wrong = {name: error for name, error in errors.items() if not isinstance(error, TransientProviderError)}
            assert not wrong, f"calls must raise TransientProviderError, and not return or raise: {wrong}"
            assert self.provider().find_vm(pool, vm) is not None, "a call destroyed the VM"
            self.assert_one(pool, vm)

    def _calls(self, pool: PoolSpec, vm: str, other: str) -> dict[str, Callable[[], object]]:
        """Return a call of each method. None changes anything if it fails, even if it is carried out."""
        provider = self.provider()
        calls: dict[str, Callable[[], object]] = {
            "list_vms": lambda: provider.list_vms(pool),
            "find_vm": lambda: provider.find_vm(pool, vm),
            "is_ready": lambda: provider.is_ready(pool, vm),
            "create_vm": lambda: provider.create_vm(pool, other),
            "destroy_vm": lambda: provider.destroy_vm(pool, other),
        }
        if isinstance(provider, DiskProvider):
            disks = provider
            calls["has_disk"] = lambda: disks.has_disk(pool, vm, "first")
        if isinstance(provider, SnapshotProvider):
            snapshots = provider
            calls["has_snapshot"] = lambda: snapshots.has_snapshot(pool, vm, "before")
        return calls


def _error_of(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the test decides which is right
        return error
    return None
