"""The tests of how a VM is made, found and destroyed."""

from concurrent.futures import ThreadPoolExecutor

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.contract.hooks import ContractHooks, given
from vmpooler_tasks.providers.protocol import PoolSpec, Provider, VirtualMachine

MAX_NAME_LENGTH = 63
"""Maximum length of a DNS label. The name of a VM becomes one."""


class LifecycleContract(ContractHooks):
    """A VM from its clone to its end, alone and in many threads."""

    def test_it_is_a_provider(self) -> None:
        assert isinstance(self.provider(), Provider), "it has not all methods of the protocol"

    def test_a_vm_is_made_gets_ready_and_is_destroyed(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self.some_vms(1) as (vm,):
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
            self.assert_gone(pool, vm)

    def test_a_vm_that_is_not_there_is_not_found_not_ready_and_no_error(self) -> None:
        pool, [vm] = self.pool(), self.names(1)
        self.assert_gone(pool, vm)
        assert self.provider().destroy_vm(pool, vm) is False, "destroy_vm returns False if there was no VM"

    def test_a_vm_is_destroyed_once(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self.some_vms(1) as (vm,):
            provider.create_vm(pool, vm)
            replies = [provider.destroy_vm(pool, vm) for _ in range(2)]
            assert replies == [True, False], "destroy_vm returns whether there was a VM"
            self.assert_gone(pool, vm)

    def test_a_vm_that_was_destroyed_before_it_was_ready_is_gone(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self.some_vms(2) as (vm, other):
            for name in (vm, other):
                provider.create_vm(pool, name)
            provider.destroy_vm(pool, vm)
            self.assert_gone(pool, vm)
            assert other in provider.list_vms(pool), "destroy_vm destroyed another VM, too"

    def test_a_vm_that_is_made_twice_is_one(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self.some_vms(1) as (vm,):
            first, second = (provider.create_vm(pool, vm) for _ in range(2))
            assert first == second, "create_vm returns the existing VM"
            assert (first.existed, second.existed) == (False, True), (
                "create_vm sets `existed` if it did not make the VM"
            )
            self.assert_one(pool, vm)

    def test_a_name_can_be_used_again(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self.some_vms(1) as (vm,):
            provider.create_vm(pool, vm)
            provider.destroy_vm(pool, vm)
            assert provider.create_vm(pool, vm).name == vm, "create_vm returned another VM"
            self.assert_one(pool, vm)

    def test_many_threads_make_many_vms(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self.some_vms(self.many) as names, ThreadPoolExecutor(self.threads) as threads:
            made = list(threads.map(lambda vm: provider.create_vm(pool, vm), names))
            assert [machine.name for machine in made] == names, "create_vm returned the VM of another thread"
            ours = sorted(vm for vm in provider.list_vms(pool) if vm in names)
            assert ours == sorted(names), "list_vms shows each VM once"
            assert all(threads.map(lambda vm: provider.destroy_vm(pool, vm), names)), "destroy_vm found one missing"
            left = set(names) & set(provider.list_vms(pool))
            assert not left, f"list_vms shows destroyed VMs: {left}"

    def test_a_hundred_threads_ask_at_once(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self.some_vms(2) as (vm, absent), ThreadPoolExecutor(100) as threads:
            made = provider.create_vm(pool, vm)
            found = list(threads.map(lambda name: provider.find_vm(pool, name), [vm, absent] * 50))
            shown = {(one.name, one.ip) if one else None for one in found}
            assert shown == {(vm, made.ip), None}, "find_vm found another VM, or missed one"
            lists = list(threads.map(lambda _: provider.list_vms(pool), range(100)))
            assert all(vm in names and absent not in names for names in lists), "list_vms shows what is not there"

    def test_many_threads_that_make_the_same_vm_make_one(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self.some_vms(1) as (vm,), ThreadPoolExecutor(self.threads) as threads:
            made = list(threads.map(lambda name: provider.create_vm(pool, name), [vm] * self.threads))
            assert all(machine == made[0] for machine in made), "create_vm returns the existing VM"
            self.assert_one(pool, vm)

    def test_many_threads_that_destroy_the_same_vm_do_no_harm(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self.some_vms(1) as (vm,), ThreadPoolExecutor(self.threads) as threads:
            provider.create_vm(pool, vm)
            assert any(threads.map(lambda name: provider.destroy_vm(pool, name), [vm] * self.threads)), (
                "destroy_vm returns True to at least one caller"
            )
            self.assert_gone(pool, vm)

    def test_a_name_may_have_63_characters(self) -> None:
        provider, pool = self.provider(), self.pool()
        with self.some_vms(2, MAX_NAME_LENGTH) as names:
            # The names differ only at their end, which a truncated name does not have.
            for vm in names:
                assert provider.create_vm(pool, vm).name == vm, "create_vm returned another VM"
            for vm in names:
                self.assert_one(pool, vm)

    def test_pools_are_separate(self) -> None:
        provider, pool = self.provider(), self.pool()
        other = given(self.other_pool(), "other_pool()")
        with self.some_vms(1) as (vm,):
            provider.create_vm(pool, vm)
            self.assert_gone(other, vm)
            assert provider.destroy_vm(other, vm) is False, "destroy_vm destroyed another pool's VM"
            self.assert_one(pool, vm)

    def test_a_template_that_does_not_exist_is_a_permanent_error(self) -> None:
        pool = given(self.pool_without_template(), "pool_without_template()")
        with self.some_vms(1, pool=pool) as (vm,):
            error = self._refusal(pool, vm)
            assert str(error).strip(), "the error has no message, but operators search for it"
            self.assert_gone(pool, vm)

    def _refusal(self, pool: PoolSpec, vm: str) -> PermanentProviderError:
        try:
            made = self.provider().create_vm(pool, vm)
        except PermanentProviderError as error:
            return error
        raise AssertionError(f"create_vm made {made} without a template")
