"""Makes one VM. data-model.md: Clone."""

import logging
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import ProviderError, VmpoolerTasksError
from vmpooler_tasks.jobs.deadletters.retention import dead_letter_limits
from vmpooler_tasks.jobs.pools import check_pending
from vmpooler_tasks.jobs.pools.context import PoolContext, stamp
from vmpooler_tasks.jobs.pools.failed_vm import letter_of, retry_of, say_retry, tell
from vmpooler_tasks.jobs.pools.lease_renewer import Lease
from vmpooler_tasks.jobs.pools.provider_calls import within
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line
from vmpooler_tasks.model.pools.permanent_errors import is_permanent_error
from vmpooler_tasks.model.pools.retries import MAX_DELIVERIES
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers import PoolSpec, Provider, VirtualMachine
from vmpooler_tasks.store.pools import clones, vms
from vmpooler_tasks.store.pools.clones import BreakerRule, Claim, ClaimedClone, Finished
from vmpooler_tasks.store.pools.handover import Handover
from vmpooler_tasks.store.redrive import runs

_log = logging.getLogger("vmpooler_tasks.pools")


class WorkerDiedError(VmpoolerTasksError):
    """The worker died of it each time"""


class NoAddressError(ProviderError):
    """The provider made the VM, and it got no address"""


class NameTakenError(ProviderError):
    """The name of the new VM is taken. Another is tried under another name"""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a clone failed, as its dead letter shows it."""

    error_class: str
    message: str
    permanent: bool

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        name = "StandardError" if isinstance(error, NoAddressError) else type(error).__name__
        return cls(name, str(error), is_permanent_error(error))


def run(manager: PoolContext, vm: str, pool_name: str, owner: str, request_id: str | None = None) -> str:
    """Makes the VM, unless somebody else does or did, or nobody wants it any more; answers what came of it.

    `owner` is this try of the task (`task/try`): the next one goes on where it was. Raises what kept the VM from being
    made; what that means for the VM is for `fail` to do, whoever reports the failure.
    """
    pool, now = manager.pool(pool_name), manager.clock()
    claimed = clones.claim(
        manager.db,
        vm,
        pool_name,
        manager.settings.provider_of(pool),
        clones.slots_for(request_id),
        owner=owner,
        now=now,
        stamp=stamp(now),
        leased_until=now + manager.settings.config.lease_seconds,
        most_attempts=MAX_DELIVERIES,
    )
    match claimed.claim:
        case Claim.OK:
            return _make(manager, vm, pool, claimed)
        case Claim.WORN:
            raise WorkerDiedError(f"{MAX_DELIVERIES} deliveries, none of which came to an end")
        case Claim.OPEN:
            _log.info("[ ] [%s] '%s' waits: its provider is left alone after failures", pool_name, vm)
        case _:
            _log.info("[ ] [%s] '%s' is not cloned: %s", pool_name, vm, claimed.claim)
    return str(claimed.claim)


def _make(manager: PoolContext, vm: str, pool: Pool, claimed: ClaimedClone) -> str:
    _log.info("[ ] [%s] Starting to clone '%s'", pool.name, vm)
    with manager.keeper.holding(vm, claimed.fence) as lease:
        begun = time.perf_counter()
        try:
            made = within(manager.limits(pool).pending_seconds, _ask, manager, pool, vm, claimed)
            seconds = f"{time.perf_counter() - begun:.2f}"
            _log.info("[+] [%s] '%s' cloned in %s seconds", pool.name, vm, seconds)
            _refuse_without_address(made.machine, seconds)
        except Exception as error:
            if isinstance(error, NameTakenError) and not manager.keeper.still_holds(lease):
                return _say_lost(pool.name, vm)  # it is the one that took it over who made the VM meanwhile
            _say_failed(pool.name, vm, error)
            raise
        return _finish(manager, vm, pool, claimed, lease, made, seconds)


class Made(NamedTuple):
    """A new VM, and whether it can be handed out at once."""

    machine: VirtualMachine
    ready: bool


def _refuse_without_address(made: VirtualMachine, seconds: str) -> None:
    if not made.ip:
        raise NoAddressError(f"failed to obtain IP after {seconds} seconds")


def _ask(manager: PoolContext, pool: Pool, vm: str, claimed: ClaimedClone) -> Made:
    spec = manager.spec(pool, template=claimed.template, clone_target=claimed.clone_target)
    provider = manager.provider_of(pool)
    machine = manager.retries(_Creation(provider, spec, vm, claimed.attempts))
    if machine.existed:
        raise NameTakenError("somebody else's VM has this name already")
    return Made(machine, bool(machine.ip) and _is_ready(provider, spec, vm))


@dataclass(slots=True)
class _Creation:
    """Makes the VM, called once or again. Where it was tried before, in vain or by one that died, it may be there."""

    provider: Provider
    spec: PoolSpec
    vm: str
    attempt: int

    def __call__(self) -> VirtualMachine:
        tried_before, self.attempt = self.attempt > 1, self.attempt + 1
        found = self.provider.find_vm(self.spec, self.vm) if tried_before else None
        made = found or self.provider.create_vm(self.spec, self.vm)
        return replace(made, existed=made.existed and not tried_before)


def _is_ready(provider: Provider, spec: PoolSpec, vm: str) -> bool:
    """If nobody can say so it is made all the same, and is looked at again."""
    try:
        return provider.is_ready(spec, vm).ready
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, the clone has not failed
        what = on_one_line(redacted_text(f"{type(error).__name__}: {error}"))
        _log.warning("[!] [%s] '%s' is cloned, and could not be looked at: %s", spec.name, vm, what)
        return False


def _finish(
    manager: PoolContext, vm: str, pool: Pool, claimed: ClaimedClone, lease: Lease, made: Made, seconds: str
) -> str:
    machine, request_id, alias = made.machine, claimed.request_id, claimed.pool_alias
    outcome = clones.finish(
        manager.db,
        vm,
        pool.name,
        manager.settings.provider_of(pool),
        clones.slots_for(request_id),
        fence=claimed.fence,
        seconds=seconds,
        ready=made.ready,
        arrival=check_pending.arrival(manager, begun=claimed.begun, request_id=request_id, pool_alias=alias),
        metadata={"clone_time": seconds, "ip": machine.ip, "host": machine.host},
    )
    match outcome:
        case Finished.LOST:
            lease.lost = True
            _say_lost(pool.name, vm)
        case Finished.LEFT:
            _log.warning("[!] [%s] '%s' has left pending while it was cloned; it will be destroyed", pool.name, vm)
        case Handover():
            check_pending.tell(manager, vm, pool.name, request_id, outcome)
    return str(outcome)


def _say_lost(pool: str, vm: str) -> str:
    _log.warning("[!] [%s] '%s' was taken over by another worker meanwhile", pool, vm)
    return str(Finished.LOST)


def _say_failed(pool: str, vm: str, error: BaseException) -> None:
    failure = Failure.of(error)
    message, about = on_one_line(failure.message), {"vm": vm, "pool": pool}
    _log.error("[!] [%s] '%s' clone failed: %s: %s", pool, vm, failure.error_class, message, extra=about)


def fail(
    manager: PoolContext, vm: str, pool_name: str, failure: Failure, owner: str, request_id: str | None = None
) -> bool:
    """The dead letter of a failed clone, out of pending, its slot free, and its request tried again: one step.

    Reported again, or while another worker has the VM, it changes nothing. Answers whether it was pending until now.
    """
    (fields,) = vms.metadata(manager.db, [vm.encode()])
    pool = manager.settings.pool(pool_name)
    provider = manager.settings.provider_of(pool) if pool else ""
    (lineage,) = runs.read_lineages(manager.db, [vm])
    letter = letter_of(
        manager,
        DeadLetterQueue.CLONE,
        vm,
        pool_name,
        fields,
        error_class=failure.error_class,
        message=failure.message,
        identity=fields["clone"] or b"",
        lineage=lineage,
    )
    retry = retry_of(manager, pool_name, fields, message=failure.message, permanent=failure.permanent)
    config, limits = manager.settings.config, dead_letter_limits(manager.settings)
    done = clones.fail(
        manager.db,
        vm,
        pool_name,
        provider,
        clones.slots_for(fields["request_id"] or request_id),
        owner=owner,
        now=manager.clock(),
        letter=letter,
        limits=limits,
        keep_seconds=manager.keep_seconds,
        retry=retry,
        breaker=BreakerRule(
            failures=config.breaker_failures, seconds=config.breaker_seconds, of_pool=failure.permanent
        ),
    )
    if not tell(letter, done.trimmed, limits, failed=done.failed):
        return False
    if lineage:
        runs.count_failure(manager.db, lineage.run)
    say_retry(manager, pool_name, vm, retry, done.request_outcome, done.request_retries)
    if done.open_until:
        pause = done.open_until - manager.clock()
        who = f"'{pool_name}'" if failure.permanent else f"Provider '{provider}'"
        about = {"vm": vm, "pool": pool_name}
        _log.error("[!] [%s] %s is left alone for %.0f s: it fails again and again", pool_name, who, pause, extra=about)
    return True
