"""Looks at one pending VM: is it ready, or has it taken too long? data-model.md: Pending check."""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.deadletters.retention import dead_letter_limits
from vmpooler_tasks.jobs.pools import failed_vm
from vmpooler_tasks.jobs.pools.context import PoolContext, day, stamp
from vmpooler_tasks.jobs.pools.failed_vm import letter_of, retry_of, say_retry
from vmpooler_tasks.jobs.pools.guarded_calls import find_vm, is_ready
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import MINUTE, Fields, age, has_timed_out, needs_notice
from vmpooler_tasks.model.pools.permanent_errors import is_permanent
from vmpooler_tasks.model.requests import parse_requested
from vmpooler_tasks.store.pools import clones, vms
from vmpooler_tasks.store.pools.handover import Arrival, Handover, make_ready
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.store.requests import fulfilment

_log = logging.getLogger("vmpooler_tasks.pools")

TIMED_OUT = "VM timed out during pending phase"


def check(manager: PoolContext, vm: str, pool_name: str) -> str:
    """Moves a pending VM on if it is ready, and fails it if it took too long; answers what came of it.

    Raises ProviderError if the provider does not say, SuspendedError if it is not asked.
    """
    pool = manager.pool(pool_name)
    (fields,) = vms.metadata(manager.db, [vm.encode()])
    if clones.is_in_flight(manager.db, vm):  # who makes it hands it on, or reports that it failed
        return _notice_if_late(manager, vm, pool, fields)
    readiness = is_ready(manager, pool, vm)
    if readiness.ready:
        request_id, alias = fields["request_id"], fields["pool_alias"]
        arrives = arrival(manager, begun=fields["clone"], request_id=request_id, pool_alias=alias)
        return tell(manager, vm, pool_name, request_id, make_ready(manager.db, vm, pool_name, arrives))
    if readiness.error:
        vms.note(manager.db, vm, "open_socket_error", readiness.error)
        fields = {**fields, "open_socket_error": readiness.error.encode()}
    return fail_if_late(manager, vm, pool, fields)


def fail_if_late(manager: PoolContext, vm: str, pool: Pool, fields: Fields) -> str:
    """Warns once of a VM that takes long, and fails one that took too long."""
    limits, now = manager.limits(pool), manager.clock()
    error = on_one_line(readable(fields["open_socket_error"] or b""))
    if has_timed_out(fields, limits, now):
        exists = find_vm(manager, pool, vm) is not None
        minutes = limits.pending_seconds / MINUTE
        if not exists:
            return _drop(manager, vm, pool, fields)
        if not time_out(manager, vm, pool.name, fields):
            return "gone"
        error = error or on_one_line(readable(fields["clone_error"] or b""))
        _log.warning("[!] [%s] '%s' marked as 'failed' after %g minutes with error: %s", pool.name, vm, minutes, error)
        return "failed"
    return _notice_if_late(manager, vm, pool, fields)


def _notice_if_late(manager: PoolContext, vm: str, pool: Pool, fields: Fields) -> str:
    limits, now = manager.limits(pool), manager.clock()
    error = on_one_line(readable(fields["open_socket_error"] or b""))
    if needs_notice(fields, limits, now):
        vms.note(manager.db, vm, "timeout_notification", "1")
        left = max(0.0, limits.pending_seconds - (age(fields["clone"], now) or 0)) / MINUTE
        _log.warning("[!] [%s] '%s' impending failure in %.0f minutes with error: %s", pool.name, vm, left, error)
    return "pending"


def time_out(manager: PoolContext, vm: str, pool: str, fields: Fields) -> bool:
    """Its dead letter, and from pending to completed. False if it had left pending."""
    message = readable(fields["open_socket_error"] or b"") or TIMED_OUT
    (lineage,) = runs.read_lineages(manager.db, [vm])
    letter = letter_of(
        manager,
        DeadLetterQueue.PENDING,
        vm,
        pool,
        fields,
        error_class="Timeout",
        message=message,
        identity=fields["clone"] or b"",
        lineage=lineage,
    )
    cause = {
        name: None if fields[name] is None else readable(fields[name] or b"")
        for name in ("clone_error", "clone_error_class")
    }
    permanent = is_permanent(cause["clone_error"], cause["clone_error_class"])
    retry = retry_of(manager, pool, fields, message=cause["clone_error"], permanent=permanent)
    limits = dead_letter_limits(manager.settings)
    done = vms.fail(manager.db, vm, pool, Queue.PENDING, letter=letter, now=manager.clock(), limits=limits, retry=retry)
    if not failed_vm.tell(letter, done.trimmed, limits, failed=done.failed):
        return False
    if lineage:
        runs.count_failure(manager.db, lineage.run)
    say_retry(manager, pool, vm, retry, done.request_outcome, done.request_retries)
    return True


def _drop(manager: PoolContext, vm: str, pool: Pool, fields: Fields) -> str:
    retry = retry_of(manager, pool.name, fields, message=None, permanent=False)
    done = vms.drop_pending(manager.db, vm, pool.name, keep_seconds=manager.keep_seconds, retry=retry)
    if not done.failed:
        return "gone"
    _log.warning("[!] [%s] '%s' no longer exists. Removing from pending.", pool.name, vm)
    say_retry(manager, pool.name, vm, retry, done.request_outcome, done.request_retries)
    return "dropped"


def arrival(
    manager: PoolContext, *, begun: bytes | None, request_id: bytes | None, pool_alias: bytes | None
) -> Arrival:
    """What is to be known of a VM that is ready now, whose clone was begun then."""
    now, lifetime = manager.clock(), manager.settings.config.vm_lifetime_auth
    waited = age(begun, now)
    return Arrival(
        stamp=stamp(now),
        day=day(now),
        waited="" if waited is None else f"{waited:.2f}",
        request_id=request_id,
        pool_alias=pool_alias,
        token_lifetime="" if lifetime is None else f"{lifetime:g}",
    )


def tell(manager: PoolContext, vm: str, pool: str, request_id: bytes | None, outcome: Handover) -> str:
    """Says where a VM went, and answers its request if it was the last one that was missing."""
    name = on_one_line(readable(request_id or b""))
    about = {"vm": vm, "pool": pool, **({"request": name} if name else {})}
    match outcome:
        case Handover.READY:
            _log.info("[>] [%s] '%s' moved from 'pending' to 'ready' queue", pool, vm, extra=about)
        case Handover.DELIVERED:
            _log.info("[>] [%s] '%s' is 'ready' for request '%s'", pool, vm, name, extra=about)
            answer_if_filled(manager, request_id or b"")
        case Handover.UNWANTED:
            text = "[!] [%s] '%s' moved to completed queue: nobody waits for request '%s'"
            _log.info(text, pool, vm, name, extra=about)
        case Handover.GONE:
            _log.info("[ ] [%s] '%s' is not pending any more", pool, vm, extra=about)
    return str(outcome)


def answer_if_filled(manager: PoolContext, request_id: bytes) -> bool:
    """Marks the request ready, if all of its VMs are delivered."""
    text = fulfilment.requested(manager.db, request_id)
    try:
        wanted = parse_requested(text or "")
    except ValueError:
        return False  # the tick that fills requests refuses it
    if not fulfilment.fill(manager.db, request_id, wanted):
        return False
    name = on_one_line(readable(request_id))
    _log.info("[>] Request '%s' is filled", name, extra={"request": name})
    return True
