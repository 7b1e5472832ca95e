"""The provider for hosts with libvirt.

The definition of a domain is made first and removed last. It lists the volumes that are made for the VM, so that
whatever is cut off in between leaves a domain with a mark, and nothing that the inventory does not show.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError, VmNotFoundError
from vmpooler_tasks.providers.libvirt import addresses, checks, domains, volumes
from vmpooler_tasks.providers.libvirt.clones import Clone
from vmpooler_tasks.providers.libvirt.connection import require_threads
from vmpooler_tasks.providers.libvirt.definitions import Mark, Volume
from vmpooler_tasks.providers.libvirt.hosts import Found, Hosts
from vmpooler_tasks.providers.libvirt.locks import VmLocks
from vmpooler_tasks.providers.libvirt.options import EffectiveOptions, LibvirtOptions, PoolOptions
from vmpooler_tasks.providers.protocol import (
    Inventory,
    MarkedVm,
    PoolSpec,
    ProviderContext,
    ProviderProblem,
    Readiness,
    VirtualMachine,
)

T = TypeVar("T")

POLL_SECONDS = 0.5
"""Pause between two queries for the address of a new VM."""

NO_VM = "the VM does not exist"


class Libvirt:
    """A Provider with marks, checks, disks and snapshots. protocol.py documents its methods.

    A domain belongs to a pool if its metadata says so. A person's own domains have no such metadata: the inventory
    does not show them, and nothing changes them.
    """

    pool_options = frozenset(PoolOptions.model_fields)
    """The options of a pool that this provider reads, beside those of every pool."""

    def __init__(self, context: ProviderContext, *, sleep: Callable[[float], None] = time.sleep) -> None:
        linked = {"create_linked_clone": context.config.get("create_linked_clones", True)}
        self._options = LibvirtOptions.model_validate({**linked, **context.options})
        require_threads()
        self._installation = context.installation
        self._hosts, self._locks, self._sleep = Hosts(self._options), VmLocks(), sleep

    def list_vms(self, pool: PoolSpec) -> Inventory:
        return {name: mark.installation for name, mark in self._hosts.read_marks() if mark.pool == pool.name}

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        found = self._hosts.find_in_pool(pool, vm, with_address=True)
        return found and _machine(found, vm)

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        clone = Clone(pool, vm, self._installation, self._options)
        with self._locks.hold(vm, self._options.address_seconds):
            found = self._hosts.find(vm)
            if found and found.view.mark and self._is_own(found.view.mark, pool):
                clone.complete(found.host, copies=found.view.mark.copied is False)
            elif found:
                return _machine(self._hosts.find(vm, with_address=True) or found, vm, existed=True)
            else:
                clone.make(self._hosts)
        return self._await_address(pool, vm, existed=found is not None)

    def is_ready(self, pool: PoolSpec, vm: str) -> Readiness:
        found = self._hosts.find_in_pool(pool, vm, with_address=True)
        if found is None:
            return Readiness(False, NO_VM, VmNotFoundError.__name__)
        if found.view.state != domains.RUNNING:
            return Readiness(False, f"the VM does not run: it is {found.view.state}")
        if found.view.ip is None:
            return Readiness(False, "the VM has no address")
        port = EffectiveOptions.of(self._options, pool).ready_port
        error = addresses.refusal_of(found.view.ip, port, self._options.ready_seconds) if port else ""
        return Readiness(False, error, "ConnectionError") if error else Readiness(True)

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        with self._locks.hold(vm, self._options.address_seconds):
            found = self._hosts.find_in_pool(pool, vm)
            if found is None:
                return False
            self._refuse_mark_of_another(found.view.mark)
            return self._remove(found, vm, lambda mark: mark.installation in (None, self._installation))

    def mark_vm(self, pool: PoolSpec, vm: str) -> bool:
        if not self._installation:
            raise PermanentProviderError("the configuration sets no installation, whose mark the VM could get")
        with self._locks.hold(vm, self._options.call_seconds):
            found = self._hosts.find(vm)
            if found is None:
                return False
            old = found.view.mark or Mark(vm=vm, pool=pool.name)
            if old.pool != pool.name:
                return False
            self._refuse_mark_of_another(old)
            new = replace(old, installation=self._installation)
            self._with_domain(found, vm, lambda domain: domains.write_mark(domain, new))
            return True

    def list_marked(self) -> Sequence[MarkedVm]:
        return [MarkedVm(name=name, pool=mark.pool) for name, mark in self._hosts.read_marks() if self._made(mark)]

    def destroy_marked(self, marked: MarkedVm) -> bool:
        with self._locks.hold(marked.name, self._options.address_seconds):
            found = self._hosts.find_in_pool(PoolSpec(name=marked.pool), marked.name)
            if found is None or found.view.mark is None or not self._made(found.view.mark):
                return False
            return self._remove(found, marked.name, self._made)

    def find_problems(self, pools: Sequence[PoolSpec]) -> Sequence[ProviderProblem]:
        return checks.find_problems(self._hosts, self._options, pools)

    def has_disk(self, pool: PoolSpec, vm: str, disk: str) -> bool:
        name = volumes.volume_name(self._installation, vm, disk)
        return self._with_domain(self._require(pool, vm), vm, lambda domain: volumes.has_disk(domain, name))

    def create_disk(self, pool: PoolSpec, vm: str, disk: str, size_gb: int) -> None:
        storage_pool = EffectiveOptions.of(self._options, pool).storage_pool
        volume = Volume(storage_pool, volumes.volume_name(self._installation, vm, disk))
        with self._locks.hold(vm, self._options.call_seconds):
            found = self._require(pool, vm)
            mark = (found.view.mark or Mark(vm=vm, pool=pool.name)).with_volume(volume)

            def attach(domain: Any) -> None:
                domains.write_mark(domain, mark)  # first: what is made is then removed with the VM
                volumes.attach_new_disk(domain, volume, disk, size_gb)

            self._with_domain(found, vm, attach)

    def has_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> bool:
        return self._with_domain(self._require(pool, vm), vm, lambda domain: domains.has_snapshot(domain, snapshot))

    def create_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        self._work_on(pool, vm, lambda domain: domains.make_snapshot(domain, snapshot))

    def revert_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        self._work_on(pool, vm, lambda domain: domains.revert(domain, snapshot))

    def close(self) -> None:
        self._hosts.close()

    def _await_address(self, pool: PoolSpec, vm: str, *, existed: bool) -> VirtualMachine:
        """Return the VM as soon as it has an address; without one after `address_seconds`."""
        deadline = time.monotonic() + self._options.address_seconds
        while True:
            found = self._hosts.find_in_pool(pool, vm, with_address=True)
            if found is None:
                raise TransientProviderError("the VM was destroyed while it started")
            if found.view.ip or time.monotonic() >= deadline:
                return _machine(found, vm, existed=existed)
            if found.view.state != domains.RUNNING:
                raise TransientProviderError(f"the VM does not run after its start: it is {found.view.state}")
            self._sleep(POLL_SECONDS)

    def _is_own(self, mark: Mark, pool: PoolSpec) -> bool:
        """Return whether a call of this installation for this pool made the domain."""
        return mark.pool == pool.name and mark.installation == (self._installation or None)

    def _made(self, mark: Mark) -> bool:
        return bool(mark.installation) and mark.installation == self._installation

    def _refuse_mark_of_another(self, mark: Mark | None) -> None:
        if mark and mark.installation and mark.installation != self._installation:
            raise PermanentProviderError(f"the VM has the mark of installation {mark.installation}")

    def _require(self, pool: PoolSpec, vm: str) -> Found:
        found = self._hosts.find_in_pool(pool, vm)
        if found is None:
            raise VmNotFoundError(NO_VM)
        return found

    def _remove(self, found: Found, vm: str, may_remove: Callable[[Mark], bool]) -> bool:
        """Remove the VM, if it still may be removed. Return False if it is gone."""
        pool = found.view.mark and found.view.mark.pool

        def remove(connection: Any) -> bool:
            domain = domains.find_domain(connection, vm)
            if domain is None:
                return False
            mark = domains.read_mark(domain)
            if mark is None or mark.pool != pool or not may_remove(mark):
                raise TransientProviderError("the mark of the VM has changed")
            domains.remove(connection, domain, mark)
            return True

        return found.host.change(remove, vm=vm)

    def _with_domain(self, found: Found, vm: str, step: Callable[[Any], T]) -> T:
        return found.host.change(lambda connection: step(connection.lookupByName(vm)), vm=vm)

    def _work_on(self, pool: PoolSpec, vm: str, step: Callable[[Any], None]) -> None:
        """Take this step on a VM, which may take long and is not repeated."""
        seconds = self._options.snapshot_seconds
        with self._locks.hold(vm, seconds):
            host = self._require(pool, vm).host
            host.call(lambda connection: step(connection.lookupByName(vm)), vm=vm, seconds=seconds, repeats=False)


def _machine(found: Found, vm: str, *, existed: bool = False) -> VirtualMachine:
    view = found.view
    return VirtualMachine(name=vm, hostname=view.hostname, ip=view.ip, host=found.host.name, existed=existed)
