"""The tests of disks, snapshots and the tag of a user. A provider without them skips these."""

from collections.abc import Callable
from unittest import SkipTest

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.contract.hooks import ContractHooks
from vmpooler_tasks.providers.protocol import DiskProvider, SnapshotProvider, TaggingProvider


class PartsContract(ContractHooks):
    """Disks and snapshots of a VM, and the tag of its user."""

    def test_a_disk_is_added_and_found_by_its_name(self) -> None:
        provider, pool = self.provider(), self.pool()
        if not isinstance(provider, DiskProvider):
            raise SkipTest("it has no disks")
        with self.some_vms(2) as (vm, other):
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
        with self.some_vms(2) as (vm, other):
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

    def test_a_vm_gets_the_tag_of_its_user(self) -> None:
        provider, pool = self.provider(), self.pool()
        if not isinstance(provider, TaggingProvider):
            raise SkipTest("it tags no users")
        with self.some_vms(2) as (vm, missing):
            provider.create_vm(pool, vm)
            mark = provider.list_vms(pool)[vm]
            tagged = [provider.tag_vm_user(pool, vm, user) for user in ("jane", "jane", "joe_doe-2")]
            assert tagged == [True, True, True], "tag_vm_user may be repeated, and another user replaces the first"
            assert self.user_of(pool, vm) in ("joe_doe-2", None), "tag_vm_user did not write the user"
            assert provider.list_vms(pool)[vm] == mark, "tag_vm_user changed the mark"
            assert provider.tag_vm_user(pool, missing, "jane") is False, "tag_vm_user returns False for a missing VM"

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


def _is_refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except PermanentProviderError:
        return True
    return False
