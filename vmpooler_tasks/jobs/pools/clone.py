"""The clone of one VM. See docs/vmpooler-behaviour.md."""

import logging
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import ProviderError, VmpoolerTasksError
from vmpooler_tasks.jobs.pools import check_pending
from vmpooler_tasks.jobs.pools.context import PoolContext, stamp
from vmpooler_tasks.jobs.pools.failed_vm import VmFailure, build_dead_letter, build_retry, log_dead_letter, log_retry
from vmpooler_tasks.jobs.pools.provider_calls import call_within
from vmpooler_tasks.model.health.explanation import error_line
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line
from vmpooler_tasks.model.pools.permanent_errors import is_permanent_error
from vmpooler_tasks.model.pools.results import CloneClaim, CloneResult, HandoverResult
from vmpooler_tasks.model.pools.retries import MAX_DELIVERIES
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers import MarkingProvider, PoolSpec, Provider, VirtualMachine
from vmpooler_tasks.store.pools import clones, vms
from vmpooler_tasks.store.pools.clones import ClaimedClone, CloneBreaker, CloneRef
from vmpooler_tasks.store.pools.leases import Lease
from vmpooler_tasks.store.redrive import runs

_log = logging.getLogger("vmpooler_tasks.pools")


class WorkerDiedError(VmpoolerTasksError):
    """The worker died in every attempt"""


class NoAddressError(ProviderError):
    """The provider made the VM, but the VM got no address"""


class NameTakenError(ProviderError):
    """The name of the new VM is taken. The next attempt uses another name"""


@dataclass(frozen=True, slots=True)
class CloneFailure:
    """The reason of a failed clone, as its dead letter shows it."""

    error_class: str
    message: str
    permanent: bool

    @classmethod
    def of(cls, error: BaseException) -> "CloneFailure":
        name = "StandardError" if isinstance(error, NoAddressError) else type(error).__name__
        return cls(name, str(error), is_permanent_error(error))


class NewVm(NamedTuple):
    """A VM that the provider made, and whether it can be handed out at once."""

    machine: VirtualMachine
    ready: bool


def run(context: PoolContext, vm: str, pool_name: str, owner: str, request_id: str | None = None) -> CloneResult:
    """Clone the VM, unless another worker does, the clone is finished, or the VM is no longer pending.

    `owner` is this try of the task (`task/try`): the next try continues the work of the last. Raise the error that
    failed the clone; whoever reports the failure calls `fail`.
    """
    pool, now = context.configured_pool(pool_name), context.clock()
    claimed = clones.claim(
        context.db,
        _ref(context, vm, pool_name, request_id),
        owner=owner,
        now=now,
        stamp=stamp(now),
        leased_until=now + context.settings.config.lease_seconds,
        max_attempts=MAX_DELIVERIES,
    )
    match claimed.claim:
        case CloneClaim.CLAIMED:
            return _clone(context, vm, pool, claimed)
        case CloneClaim.EXHAUSTED:
            raise WorkerDiedError(f"{MAX_DELIVERIES} deliveries started the clone, and none finished it")
        case CloneClaim.PAUSED:
            about = {"vm": vm, "pool": pool_name}
            _log.info("[ ] [%s] '%s' is not cloned: its pool is paused", pool_name, vm, extra=about)
        case CloneClaim.POOL_SUSPENDED:
            about = {"vm": vm, "pool": pool_name}
            _log.info("[ ] [%s] '%s' is not cloned: its pool is suspended after failures", pool_name, vm, extra=about)
        case CloneClaim.SUSPENDED:
            _log.info("[ ] [%s] '%s' waits: its provider is suspended after failures", pool_name, vm)
        case _:
            _log.info("[ ] [%s] '%s' is not cloned: %s", pool_name, vm, claimed.claim)
    return CloneResult(str(claimed.claim))


def _ref(context: PoolContext, vm: str, pool_name: str, request_id: str | bytes | None) -> CloneRef:
    pool = context.settings.pool(pool_name)
    provider = context.settings.provider_of(pool) if pool else ""
    return CloneRef(vm=vm, pool=pool_name, provider=provider, slots=clones.slots_for(request_id))


def _clone(context: PoolContext, vm: str, pool: Pool, claimed: ClaimedClone) -> CloneResult:
    _log.info("[ ] [%s] Starting to clone '%s'", pool.name, vm)
    with context.leases.holding(vm, claimed.fence) as lease:
        started = time.perf_counter()
        try:
            made = call_within(context.limits(pool).pending_seconds, _create, context, pool, vm, claimed)
            seconds = f"{time.perf_counter() - started:.2f}"
            _log.info("[+] [%s] '%s' cloned in %s seconds", pool.name, vm, seconds)
            _require_address(made.machine, seconds)
        except Exception as error:
            if isinstance(error, NameTakenError) and not context.leases.renew(lease):
                return _log_lost(pool.name, vm)  # the worker that took the lease over has made the VM
            _log_failed(pool.name, vm, error)
            raise
        return _finish(context, vm, pool, claimed, lease, made, seconds)


def _require_address(machine: VirtualMachine, seconds: str) -> None:
    if not machine.ip:
        raise NoAddressError(f"failed to obtain IP after {seconds} seconds")


def _create(context: PoolContext, pool: Pool, vm: str, claimed: ClaimedClone) -> NewVm:
    spec = context.spec(pool, template=claimed.template, clone_target=claimed.clone_target)
    provider = context.provider_of(pool)
    if claimed.attempts == 1:
        context.dns.require_free_name(pool, vm)
    creation = _Creation(provider, spec, vm, claimed.attempts, context.settings.config.installation)
    machine = context.retries(creation)
    if machine.existed:
        raise NameTakenError("another VM has this name")
    if machine.ip:
        context.dns.create(pool, vm, machine.ip, fence=claimed.fence)
    return NewVm(machine, bool(machine.ip) and _is_ready(provider, spec, vm))


@dataclass(slots=True)
class _Creation:
    """Creates the VM, in one or more calls. After an earlier attempt, even by a dead worker, the VM may exist.

    It is that of the earlier attempt only if it has the mark of this `installation`: a person may have the name, too.
    One without an address may be half made: the provider completes it, or waits for its address.
    """

    provider: Provider
    spec: PoolSpec
    vm: str
    attempt: int
    installation: str

    def __call__(self) -> VirtualMachine:
        tried_before, self.attempt = self.attempt > 1, self.attempt + 1
        found = self.provider.find_vm(self.spec, self.vm) if tried_before else None
        made = found if found and found.ip else self.provider.create_vm(self.spec, self.vm)
        if tried_before and (found or made.existed):
            return replace(made, existed=self._is_foreign())
        return made

    def _is_foreign(self) -> bool:
        """Return whether the inventory shows the VM without the mark of this installation."""
        if not self.installation or not isinstance(self.provider, MarkingProvider):
            return False
        return self.provider.list_vms(self.spec).get(self.vm, self.installation) != self.installation


def _is_ready(provider: Provider, spec: PoolSpec, vm: str) -> bool:
    """Return whether the new VM is ready. If the provider does not know, return False: a later check decides."""
    try:
        return provider.is_ready(spec, vm).ready
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, the clone has not failed
        what = on_one_line(redacted_text(f"{type(error).__name__}: {error}"))
        _log.warning("[!] [%s] '%s' is cloned, but its readiness check failed: %s", spec.name, vm, what)
        return False


def _finish(
    context: PoolContext, vm: str, pool: Pool, claimed: ClaimedClone, lease: Lease, made: NewVm, seconds: str
) -> CloneResult:
    machine, request_id = made.machine, claimed.request_id
    handover = check_pending.build_handover(
        context, vm, pool.name, started=claimed.started, request_id=request_id, pool_alias=claimed.pool_alias
    )
    result = clones.finish(
        context.db,
        _ref(context, vm, pool.name, request_id),
        handover,
        fence=claimed.fence,
        seconds=seconds,
        ready=made.ready,
        metadata={"clone_time": seconds, "ip": machine.ip, "host": machine.host},
    )
    match result:
        case CloneResult.LOST:
            lease.lost = True
            _log_lost(pool.name, vm)
        case CloneResult.LEFT_QUEUE:
            _log.warning("[!] [%s] '%s' left pending while it was cloned; it will be destroyed", pool.name, vm)
        case CloneResult.READY | CloneResult.DELIVERED | CloneResult.REQUEST_CLOSED:
            check_pending.complete_handover(context, handover, HandoverResult(str(result)))
        case _:
            pass
    return result


def _log_lost(pool: str, vm: str) -> CloneResult:
    _log.warning("[!] [%s] '%s': another worker took its lease over during the clone", pool, vm)
    return CloneResult.LOST


def _log_failed(pool: str, vm: str, error: BaseException) -> None:
    failure = CloneFailure.of(error)
    message, about = on_one_line(failure.message), {"vm": vm, "pool": pool}
    _log.error("[!] [%s] '%s' clone failed: %s: %s", pool, vm, failure.error_class, message, extra=about)


def fail(
    context: PoolContext, vm: str, pool_name: str, failure: CloneFailure, owner: str, request_id: str | None = None
) -> bool:
    """Fail a clone in one step: dead letter, out of pending, slot free, request retried or failed.

    Do nothing if this failure was reported before, or if another worker has the VM. Return True if the VM was pending
    until now.
    """
    (fields,) = vms.read_metadata(context.db, [vm.encode()])
    (lineage,) = runs.read_lineages(context.db, [vm])
    dead_letter = build_dead_letter(
        context,
        VmFailure(
            queue=DeadLetterQueue.CLONE,
            vm=vm,
            pool=pool_name,
            fields=fields,
            error_class=failure.error_class,
            message=failure.message,
            identity=fields["clone"] or b"",
            lineage=lineage,
        ),
    )
    retry = build_retry(context, pool_name, fields, message=failure.message, permanent=failure.permanent)
    ref = _ref(context, vm, pool_name, fields["request_id"] or request_id)
    failed = clones.fail(
        context.db,
        ref,
        owner=owner,
        now=context.clock(),
        dead_letter=dead_letter,
        retry=retry,
        breaker=CloneBreaker(context.breaker_limits(ref.provider), failure.permanent, error_line(failure.message)),
        keep_seconds=context.keep_seconds,
    )
    log_dead_letter(dead_letter, failed)
    if not failed.failed:
        return False
    if lineage:
        runs.count_failure(context.db, lineage.run)
    log_retry(vm, pool_name, retry, failed)
    kind = "permanent errors" if failure.permanent else "failures"
    _log_suspension(context, ref, f"pool '{ref.pool}'", failed.pool_suspended_until, kind)
    _log_suspension(context, ref, f"provider '{ref.provider}'", failed.suspended_until, "failures")
    return True


def _log_suspension(context: PoolContext, clone: CloneRef, who: str, until: float | None, kind: str) -> None:
    if until:
        seconds, about = until - context.clock(), {"vm": clone.vm, "pool": clone.pool}
        _log.error("[!] [%s] %s is suspended for %.0f s after repeated %s", clone.pool, who, seconds, kind, extra=about)
