"""What a provider must answer, and how it says that it cannot.

A provider is found by entry point (group `vmpooler_tasks.providers`), which names a factory: it is called once in each
process with a `ProviderContext` and answers with a `Provider`. `vmpooler_tasks.providers.contract` is the suite of
tests that every provider has to pass.

- Thread safety: one provider serves all threads of a worker, hundreds at once. It is made after the fork.
- Time limits: a call answers or raises within the seconds that it needs at the worst; it never waits for ever. Callers
  bound each call as well, and give a provider up that is late (`ProviderTimeoutError`); what it does then is not heard
  any more.
- Errors: `PermanentProviderError`, `TransientProviderError`, `ThrottledProviderError` or `VmNotFoundError` (all in
  `vmpooler_tasks.errors`). Anything else is taken for transient, unless it is a programming error.
- Names: a VM's name is unique in the installation; every question is about a VM in one pool.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """A pool as its provider sees it.

    `template` and `clone_target` are those in effect, overrides included; `options` is all of the pool's entry in the
    configuration as it was written, for what only this provider understands.
    """

    name: str
    template: str | None = None
    clone_target: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderContext:
    """`name` as pools call it, `options` of its section in `:providers:`, `redis_url` of VMPooler's database."""

    name: str
    options: Mapping[str, Any]
    redis_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """`hostname` is what the machine calls itself, `ip` its address, `host` its hypervisor; None if not known.

    `existed` is for `create_vm` to say that it found the VM and made none: of a name that nobody has tried before, that
    is somebody else's.
    """

    name: str
    hostname: str | None = None
    ip: str | None = None
    host: str | None = None
    existed: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a VM can be handed out. If not, `error` says why; its letter shows `error_class`."""

    ready: bool
    error: str = ""
    error_class: str = "RuntimeError"


@runtime_checkable
class Provider(Protocol):
    """Every method may raise a ProviderError."""

    def list_vms(self, pool: PoolSpec) -> Collection[str]:
        """The names of all VMs of the pool. All of them or an error: half a list must never be answered."""

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        """The VM, None if there is none. Only a sure no is a None; anything else is an error."""

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        """Makes the VM from the pool's template, and answers when it is made and has an address.

        If it is there already, made by a call that nobody waited for, the same is answered (`existed`) and no second is
        made. An `ip` of None says that no address was obtained in the time that this provider gives it.
        """

    def is_ready(self, pool: PoolSpec, vm: str) -> Readiness:
        """Looks once, and does not wait. A VM that is not there is not ready."""

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        """Destroys the VM, running or not; False if there was none, which is no error.

        Of several calls at once at least one answers True.
        """

    def close(self) -> None:
        """Lets go of connections; the process ends."""
