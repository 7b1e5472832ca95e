"""The tests of marks. A provider whose VMs carry none skips these, and one whose author gives no `installation`."""

from contextlib import suppress
from unittest import SkipTest

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.contract.hooks import ContractHooks, given
from vmpooler_tasks.providers.protocol import MarkedVm, MarkingProvider, PoolSpec, TaggingProvider

ANOTHER = "contract-another"
"""The mark of another installation."""


class OwnershipContract(ContractHooks):
    """Whose VM it is: marks, and VMs that somebody else made."""

    def test_a_new_vm_has_the_mark_of_its_installation(self) -> None:
        provider, pool = self.provider(), self.pool()
        self._marking_provider()
        with self.some_vms(1) as (vm,):
            provider.create_vm(pool, vm)
            assert provider.list_vms(pool)[vm] == self.installation, "list_vms shows the mark of a new VM"

    def test_a_vm_of_a_person_is_left_alone(self) -> None:
        provider, marking, pool = self.provider(), self._marking_provider(), self.pool()
        with self.some_vms(2) as (vm, own):
            self._make_foreign(pool, vm, None)
            before = (vm in provider.list_vms(pool), provider.find_vm(pool, vm) is not None)
            assert provider.list_vms(pool).get(vm) is None, "list_vms shows a mark that nobody gave"
            self._assert_not_made(pool, vm)
            assert not marking.destroy_marked(MarkedVm(name=vm, pool=pool.name)), "destroy_marked needs the mark"
            provider.create_vm(pool, own)
            provider.destroy_vm(pool, own)
            after = (vm in provider.list_vms(pool), provider.find_vm(pool, vm) is not None)
            assert after == before, "the VM of a person is gone"
            assert provider.list_vms(pool).get(vm) is None, "create_vm marked the VM of a person"
            assert vm not in self._marked_names(marking), "list_marked shows the VM of a person"

    def test_a_vm_with_the_mark_of_another_installation_is_left_alone(self) -> None:
        provider, marking, pool = self.provider(), self._marking_provider(), self.pool()
        with self.some_vms(1) as (vm,):
            self._make_foreign(pool, vm, ANOTHER)
            before = (vm in provider.list_vms(pool), provider.find_vm(pool, vm) is not None)
            assert provider.list_vms(pool).get(vm) in (ANOTHER, None), "list_vms shows the mark that the VM has"
            self._assert_not_made(pool, vm)
            with suppress(PermanentProviderError):
                assert not marking.mark_vm(pool, vm), "mark_vm raises if another installation has the VM"
            with suppress(PermanentProviderError):
                assert not provider.destroy_vm(pool, vm), "destroy_vm raises if another installation has the VM"
            after = (vm in provider.list_vms(pool), provider.find_vm(pool, vm) is not None)
            assert after == before, "destroy_vm destroyed the VM of another installation"
            if isinstance(provider, TaggingProvider):
                with suppress(PermanentProviderError):
                    assert not provider.tag_vm_user(pool, vm, "jane"), "tag_vm_user raises if another one has the VM"
            assert not marking.destroy_marked(MarkedVm(name=vm, pool=pool.name)), "destroy_marked needs the own mark"
            assert vm not in self._marked_names(marking), "list_marked shows the VM of another installation"

    def test_a_vm_that_gets_the_mark_is_found_by_it_and_destroyed(self) -> None:
        provider, marking, pool = self.provider(), self._marking_provider(), self.pool()
        with self.some_vms(2) as (vm, missing):
            self._make_foreign(pool, vm, None)
            assert [marking.mark_vm(pool, vm) for _ in range(2)] == [True, True], "mark_vm may be repeated"
            assert provider.list_vms(pool)[vm] == self.installation, "list_vms shows the mark that mark_vm gave"
            assert marking.mark_vm(pool, missing) is False, "mark_vm returns False for a missing VM"
            marked = MarkedVm(name=vm, pool=pool.name)
            assert vm in self._marked_names(marking), "list_marked shows what mark_vm marked"
            assert [marking.destroy_marked(marked) for _ in range(2)] == [True, False], (
                "destroy_marked returns whether there was a VM"
            )
            self.assert_gone(pool, vm)

    def test_marked_vms_of_all_pools_are_listed_with_their_pools(self) -> None:
        provider, marking = self.provider(), self._marking_provider()
        pools = [self.pool(), given(self.other_pool(), "other_pool")]
        with self.some_vms(1, pool=pools[0]) as (first,), self.some_vms(1, pool=pools[1]) as (second,):
            made = [MarkedVm(name=vm, pool=pool.name) for vm, pool in zip((first, second), pools, strict=True)]
            for one, pool in zip(made, pools, strict=True):
                provider.create_vm(pool, one.name)
            listed = marking.list_marked()
            assert [listed.count(one) for one in made] == [1, 1], "list_marked shows each VM once, with its pool"
            assert all(marking.destroy_marked(one) for one in made), "destroy_marked destroys what list_marked returned"
            for one, pool in zip(made, pools, strict=True):
                self.assert_gone(pool, one.name)

    def _marking_provider(self) -> MarkingProvider:
        provider: object = self.provider()
        if not isinstance(provider, MarkingProvider) or not self.installation:
            raise SkipTest("its VMs carry no marks, or `installation` is not given")
        return provider

    def _marked_names(self, marking: MarkingProvider) -> list[str]:
        return [one.name for one in marking.list_marked()]

    def _make_foreign(self, pool: PoolSpec, vm: str, mark: str | None) -> None:
        if not self.make_foreign_vm(pool, vm, mark):
            raise SkipTest("make_foreign_vm is not given")

    def _assert_not_made(self, pool: PoolSpec, vm: str) -> None:
        """Check that create_vm says that the name is taken."""
        try:
            made = self.provider().create_vm(pool, vm)
        except PermanentProviderError:
            return
        assert made.existed, "create_vm takes the VM of somebody else for its own"
