"""The protocol of a provider: what each method returns, and which errors it raises.

A provider is found by an entry point (group `vmpooler_tasks.providers`) that names a factory. The factory is called
once in each process with a `ProviderContext` and returns a `Provider`. `vmpooler_tasks.providers.contract` is the test
suite that every provider must pass. docs/writing-a-provider.md has an introduction and an example.

- Thread safety: one provider serves all threads of a worker, hundreds at once. It is created after the fork.
- Time limits: a call returns or raises within its own time limit. It never waits for ever. Callers limit each call as
  well: after that time they raise `ProviderTimeoutError` and ignore what the call still does.
- Errors: `PermanentProviderError`, `TransientProviderError`, `ThrottledProviderError` or `VmNotFoundError` (all in
  `vmpooler_tasks.errors`). Any other exception counts as transient, unless it is a programming error.
- Names: the name of a VM is unique in the installation. Every call is about a VM in one pool.
- Marks: every VM, volume or other object that a provider makes carries the mark of its installation
  (`ProviderContext.installation`), as a tag, an annotation or metadata. The inventory says of each VM which mark it
  has. A VM in no queue is destroyed only if it has the mark of this installation. Destruction removes what was made
  for the VM, and never a template or a disk that others share.
"""

from collections.abc import Mapping, Sequence
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
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderContext:
    """The section's `name` and `options` in `:providers:`, and `redis_url`, the address of VMPooler's database.

    `installation` is the mark of what this installation makes; empty if the configuration sets none. A provider of a
    real hypervisor then marks nothing, and reports no mark. `config` has the options of the pool manager
    in `:config:`, with their defaults: VMPooler's providers read some of them.
    """

    name: str
    options: Mapping[str, Any] = field(repr=False)  # with passwords
    redis_url: str = field(repr=False)
    installation: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


Inventory = Mapping[str, str | None]
"""All VMs of a pool: the name of each → the installation whose mark it has, None if it has no mark."""


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

    def list_vms(self, pool: PoolSpec) -> Inventory:
        """Return all VMs of the pool with their marks. Raise an error instead of returning only some of them."""

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

        Raise PermanentProviderError, or return False, if it has the mark of another installation: it is not destroyed.
        Of several calls at once at least one returns True.
        """

    def close(self) -> None:
        """Close all connections. The process ends after this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedVm:
    """A VM with the mark of this installation, and the name of the pool for which it was made."""

    name: str
    pool: str


@runtime_checkable
class MarkingProvider(Protocol):
    """The optional methods of a provider whose VMs carry the mark of their installation.

    Without them, a VM that somebody else made cannot be adopted, and nothing outside the configured pools is found.
    """

    def mark_vm(self, pool: PoolSpec, vm: str) -> bool:
        """Give the VM the mark of this installation. Return False if there is no such VM, which is not an error.

        Raise PermanentProviderError if it has the mark of another installation.
        """

    def list_marked(self) -> Sequence[MarkedVm]:
        """Return all VMs with the mark of this installation, in configured pools and elsewhere.

        Raise an error instead of returning only some of them.
        """

    def destroy_marked(self, marked: MarkedVm) -> bool:
        """Destroy a VM that `list_marked` returned. Return False if it is gone, or its mark is."""


@runtime_checkable
class TaggingProvider(Protocol):
    """The optional method of a provider that can name the user of a running VM. Without it, no user is named."""

    def tag_vm_user(self, pool: PoolSpec, vm: str, user: str) -> bool:
        """Write the user into a tag of the VM, in place of an earlier one. Return False if there is no such VM.

        `user` has 1 to 63 of the characters `0-9a-z_-`. The caller repeats a call that failed. Raise
        PermanentProviderError if the VM has the mark of another installation.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProblem:
    """What keeps a provider from working: `text` has the cause and what to do. `pool` is empty if it is about all."""

    text: str
    pool: str = ""


@runtime_checkable
class CheckedProvider(Protocol):
    """The optional method of a provider that can try its options: `config check --online` and `doctor` call it."""

    def find_problems(self, pools: Sequence[PoolSpec]) -> Sequence[ProviderProblem]:
        """Log in and return what does not work: login, template, folder, quota, each missing privilege by name.

        Change nothing. Return all problems, not only the first. Raise a ProviderError only where nothing can be said.
        """


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
