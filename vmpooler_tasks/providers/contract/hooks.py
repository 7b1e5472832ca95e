"""What the author of a provider overrides in the contract suite, and what its tests share."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import StrEnum
from typing import TypeVar
from unittest import SkipTest
from uuid import uuid4

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.protocol import PoolSpec, Provider, Readiness

T = TypeVar("T")


class Trouble(StrEnum):
    """What a hypervisor can do to its provider. `ContractHooks.trouble` lets it happen."""

    LATE_ADDRESS = "late address"
    """A new VM gets its address some time after it was started."""

    NO_ADDRESS = "no address"
    """A new VM never gets an address."""

    NO_PERMISSION = "no permission"
    """The login may read everything, and may not make a VM."""

    NO_QUOTA = "no quota"
    """There is no room for another VM: a quota, a full datastore."""

    THROTTLED = "throttled"
    """The hypervisor refuses calls, because there are too many."""

    UNREACHABLE = "unreachable"
    """Nobody accepts connections."""

    HANGING = "hanging"
    """Connections are accepted and requests are read. No reply comes."""

    CUT = "cut"
    """The connection breaks while a VM is made: after the hypervisor took the order, before its reply."""


class ContractHooks:
    """Override the attributes and methods up to `names`."""

    many = 32
    """Number of VMs to make at once, with `threads` threads."""

    threads = 8

    patience_seconds = 600.0
    """Maximum time for a VM to become ready."""

    poll_seconds = 0.5

    installation = ""
    """The installation in the provider's context, whose mark its VMs carry. Empty: the tests of marks are skipped."""

    call_seconds = 120.0
    """Maximum time of a call that gets no reply, or whose VM gets no address."""

    inventory_seconds = 45.0
    """Maximum time of the inventory of `large_pool`. The workers wait no longer."""

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

    def trouble(self, kind: Trouble) -> AbstractContextManager[PoolSpec] | None:
        """Return a context in which the hypervisor behaves like that. It yields the pool to use.

        None: the author's hypervisor cannot do it, and the test is skipped.
        """
        del kind
        return None

    def leave_half_made(self, pool: PoolSpec, vm: str) -> bool:
        """Leave in the hypervisor what `create_vm` leaves if its worker dies half-way, e.g. a disk without its VM.

        Return False if that cannot be done.
        """
        del pool, vm
        return False

    def make_foreign_vm(self, pool: PoolSpec, vm: str, mark: str | None) -> bool:
        """Make a VM of this name where the pool has its own, as a person or another installation does.

        `mark`: that of the other installation; None: without a mark. Return False if that cannot be done. The test
        calls `destroy_vm` at its end, which does not destroy the VM of another installation: remove it yourself.
        """
        del pool, vm, mark
        return False

    def user_of(self, pool: PoolSpec, vm: str) -> str | None:
        """Return the tag of the VM's user, as the hypervisor shows it. None: it cannot be read, or there is none."""
        del pool, vm
        return None

    def leftovers(self) -> Collection[str] | None:
        """Return what the hypervisor holds beside VMs and templates, e.g. the paths of disks. None: it does not say."""
        return None

    def large_pool(self) -> AbstractContextManager[tuple[PoolSpec, Collection[str]]] | None:
        """Return a context with a pool of 2,500 VMs or more: as many as the hypervisor returns in several pages.

        It yields the pool and the names of its VMs.
        """
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

    @contextmanager
    def some_vms(self, count: int, length: int = 0, pool: PoolSpec | None = None) -> Iterator[list[str]]:
        """Yield names, padded in front to this length. Destroy the VMs with these names at the end."""
        names = [vm if len(vm) >= length else "c" * (length - len(vm)) + vm for vm in self.names(count)]
        try:
            yield names
        finally:
            self._destroy(pool or self.pool(), names)

    def _destroy(self, pool: PoolSpec, names: Sequence[str]) -> None:
        for vm in names:
            with suppress(PermanentProviderError):  # the VM of another installation
                self.provider().destroy_vm(pool, vm)

    def assert_gone(self, pool: PoolSpec, vm: str) -> None:
        provider = self.provider()
        found = provider.find_vm(pool, vm)
        assert found is None, f"find_vm must return None for a missing VM, not {found}"
        readiness = provider.is_ready(pool, vm)
        assert isinstance(readiness, Readiness), f"is_ready returned {readiness!r}"
        assert not readiness.ready, "is_ready reports a missing VM as ready"
        assert readiness.error, "is_ready does not say why a VM is not ready"
        assert vm not in provider.list_vms(pool), "list_vms shows a missing VM"

    def assert_one(self, pool: PoolSpec, vm: str) -> None:
        """Check that there is one VM of this name: in the list, and after it is destroyed."""
        provider = self.provider()
        assert list(provider.list_vms(pool)).count(vm) == 1, "list_vms shows a VM once"
        assert provider.destroy_vm(pool, vm) is True, "destroy_vm returns True if there was a VM"
        self.assert_gone(pool, vm)


def given(hooked: T | None, hook: str) -> T:
    """Return what the hook returned. Skip the test if it is None."""
    if hooked is None:
        raise SkipTest(f"{hook} is not given")  # pytest skips as well
    return hooked
