"""The protocol of a provider: what each method returns, and which errors it raises.

A provider is found by an entry point (group `vmpooler_tasks.providers`) that names a factory. The factory is called
once in each process with a `ProviderContext` and returns a `Provider`. `vmpooler_tasks.providers.contract` is the test
suite that every provider must pass. docs/providers.md has an introduction.

- Thread safety: one provider serves all threads of a worker, hundreds at once. It is created after the fork.
- Time limits: a call returns or raises within its own time limit. It never waits for ever. Callers limit each call as
  well: after that time they raise `ProviderTimeoutError` and ignore what the call still does.
- Errors: `PermanentProviderError`, `TransientProviderError`, `ThrottledProviderError` or `VmNotFoundError` (all in
  `vmpooler_tasks.errors`). Any other exception counts as transient, unless it is a programming error.
- Names: the name of a VM is unique in the installation. Every call is about a VM in one pool.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """A pool, for its provider.

    `template` and `clone_target` are the values in effect, including overrides. `options` is the whole entry of the
    pool in the configuration, as it was written, with the options that only this provider knows.
    """

    name: str
    template: str | None = None
    clone_target: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderContext:
    """The section's `name` and `options` in `:providers:`, and `redis_url`, the address of VMPooler's database."""

    name: str
    options: Mapping[str, Any]
    redis_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """A VM: `hostname` is the name that the guest reports, `ip` its address, `host` its hypervisor; None if unknown.

    `create_vm` sets `existed` if it found the VM and did not make it. If nobody has tried this name before, the VM
    belongs to somebody else.
    """

    name: str
    hostname: str | None = None
    ip: str | None = None
    host: str | None = None
    existed: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a VM is ready for a user. If not, `error` says why; a dead letter shows it with `error_class`."""

    ready: bool
    error: str = ""
    error_class: str = "RuntimeError"


@runtime_checkable
class Provider(Protocol):
    """Makes, finds and destroys VMs. Every method may raise a ProviderError."""

    def list_vms(self, pool: PoolSpec) -> Collection[str]:
        """Return the names of all VMs of the pool. Raise an error instead of returning only some of them."""

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        """Return the VM; None only if it certainly does not exist. Raise an error otherwise."""

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        """Make the VM from the pool's template. Return it when it exists and has an address.

        If the VM exists already, from a call whose caller died, return it with `existed` and do not make a second one.
        An `ip` of None means that the VM got no address within the provider's own time limit.
        """

    def is_ready(self, pool: PoolSpec, vm: str) -> Readiness:
        """Check once, without waiting, whether the VM is ready. A missing VM is not ready."""

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        """Destroy the VM, running or not. Return False if it does not exist, which is not an error.

        Of several calls at once at least one returns True.
        """

    def close(self) -> None:
        """Close all connections. The process ends after this."""


@runtime_checkable
class DiskProvider(Protocol):
    """The optional methods of a provider that can add disks to a running VM.

    A provider without them is a Provider all the same. An order for a disk then becomes a dead letter.
    """

    def has_disk(self, pool: PoolSpec, vm: str, disk: str) -> bool:
        """Return whether the VM has the disk of this name. Raise VmNotFoundError if there is no such VM."""

    def create_disk(self, pool: PoolSpec, vm: str, disk: str, size_gb: int) -> None:
        """Add a disk of so many gigabytes to the VM. Return when the VM has it.

        `disk` is a name that no other disk of the VM has. The caller asks `has_disk` for it before each attempt, so
        that a call whose caller died makes no second disk. Raise VmNotFoundError if there is no such VM.
        """


@runtime_checkable
class SnapshotProvider(Protocol):
    """The optional methods of a provider that can make snapshots of a running VM, and revert the VM to one.

    A provider without them is a Provider all the same. An order for a snapshot then becomes a dead letter.
    """

    def has_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> bool:
        """Return whether the VM has the snapshot of this name. Raise VmNotFoundError if there is no such VM."""

    def create_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        """Make a snapshot of the VM. Return when it exists. The caller asks `has_snapshot` before each attempt.

        Raise VmNotFoundError if there is no such VM.
        """

    def revert_snapshot(self, pool: PoolSpec, vm: str, snapshot: str) -> None:
        """Set the VM back to the snapshot. Return when that is done.

        It discards what the user did since the snapshot, so the caller never repeats this call by itself. Raise
        VmNotFoundError if there is no such VM, and PermanentProviderError if it has no such snapshot.
        """
