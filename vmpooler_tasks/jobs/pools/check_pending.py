"""The check of one pending VM: is it ready, or did it time out? See docs/vmpooler-behaviour.md."""

import logging
from collections.abc import Sequence

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext, day, stamp
from vmpooler_tasks.jobs.pools.failed_vm import VmFailure, build_dead_letter, build_retry, log_dead_letter, log_retry
from vmpooler_tasks.jobs.pools.guarded_calls import query_readiness, query_vm
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import MINUTE, Fields, age, has_timed_out, needs_notice
from vmpooler_tasks.model.pools.permanent_errors import is_permanent
from vmpooler_tasks.model.pools.results import CheckResult, HandoverResult
from vmpooler_tasks.model.requests import Wanted, parse_requested
from vmpooler_tasks.store.pools import clones, vms
from vmpooler_tasks.store.pools.handover import Handover, make_ready
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.store.requests import fulfilment

_log = logging.getLogger("vmpooler_tasks.pools")

TIMED_OUT = "VM timed out during pending phase"


def check(context: PoolContext, vm: str, pool_name: str) -> CheckResult:
    """Check a pending VM: hand it over if it is ready, fail it if it timed out.

    Raise ProviderError if the provider does not know, SuspendedError if it is suspended.
    """
    pool = context.pool(pool_name)
    (fields,) = vms.read_metadata(context.db, [vm.encode()])
    if clones.is_in_flight(context.db, vm):  # the worker that clones it hands it over, or reports its failure
        return _notice_if_late(context, vm, pool, fields)
    readiness = query_readiness(context, pool, vm)
    if readiness.ready:
        handover = build_handover(
            context,
            vm,
            pool_name,
            started=fields["clone"],
            request_id=fields["request_id"],
            pool_alias=fields["pool_alias"],
        )
        result = make_ready(context.db, handover)
        complete_handover(context, handover, result)
        return CheckResult(str(result))
    if readiness.error:
        vms.set_field(context.db, vm, "open_socket_error", readiness.error)
        fields = {**fields, "open_socket_error": readiness.error.encode()}
    return fail_if_late(context, vm, pool, fields)


def fail_if_late(context: PoolContext, vm: str, pool: Pool, fields: Fields) -> CheckResult:
    """Fail a pending VM that timed out. Log one warning for a VM that soon will."""
    limits, now = context.limits(pool), context.clock()
    if not has_timed_out(fields, limits, now):
        return _notice_if_late(context, vm, pool, fields)
    if query_vm(context, pool, vm) is None:
        return _remove(context, vm, pool, fields)
    if not fail(context, vm, pool.name, fields):
        return CheckResult.LEFT_QUEUE
    error = on_one_line(readable(fields["open_socket_error"] or fields["clone_error"] or b""))
    text = "[!] [%s] '%s' marked as 'failed' after %g minutes with error: %s"
    _log.warning(text, pool.name, vm, limits.pending_seconds / MINUTE, error)
    return CheckResult.FAILED


def _notice_if_late(context: PoolContext, vm: str, pool: Pool, fields: Fields) -> CheckResult:
    limits, now = context.limits(pool), context.clock()
    if needs_notice(fields, limits, now):
        vms.set_field(context.db, vm, "timeout_notification", "1")
        error = on_one_line(readable(fields["open_socket_error"] or b""))
        left = max(0.0, limits.pending_seconds - (age(fields["clone"], now) or 0)) / MINUTE
        _log.warning("[!] [%s] '%s' impending failure in %.0f minutes with error: %s", pool.name, vm, left, error)
    return CheckResult.PENDING


def fail(context: PoolContext, vm: str, pool: str, fields: Fields) -> bool:
    """Write the VM's dead letter, and move it to completed. Return False if it had left pending."""
    (lineage,) = runs.read_lineages(context.db, [vm])
    failure = VmFailure(
        queue=DeadLetterQueue.PENDING,
        vm=vm,
        pool=pool,
        fields=fields,
        error_class="Timeout",
        message=readable(fields["open_socket_error"] or b"") or TIMED_OUT,
        identity=fields["clone"] or b"",
        lineage=lineage,
    )
    dead_letter = build_dead_letter(context, failure)
    cause = {
        name: None if fields[name] is None else readable(fields[name] or b"")
        for name in ("clone_error", "clone_error_class")
    }
    permanent = is_permanent(cause["clone_error"], cause["clone_error_class"])
    retry = build_retry(context, pool, fields, message=cause["clone_error"], permanent=permanent)
    failed = vms.fail(context.db, vm, pool, Queue.PENDING, dead_letter=dead_letter, retry=retry, now=context.clock())
    log_dead_letter(dead_letter, failed)
    if not failed.failed:
        return False
    if lineage:
        runs.count_failure(context.db, lineage.run)
    log_retry(vm, pool, retry, failed)
    return True


def _remove(context: PoolContext, vm: str, pool: Pool, fields: Fields) -> CheckResult:
    retry = build_retry(context, pool.name, fields, message=None, permanent=False)
    guard = context.missing_guard(vm, pool.name)
    removed = vms.remove_pending(context.db, guard, keep_seconds=context.keep_seconds, retry=retry)
    if not removed.failed:
        return CheckResult.HELD if removed.held else CheckResult.LEFT_QUEUE
    _log.warning("[!] [%s] '%s' no longer exists. Removing from pending.", pool.name, vm)
    log_retry(vm, pool.name, retry, removed)
    return CheckResult.REMOVED


def build_handover(
    context: PoolContext,
    vm: str,
    pool: str,
    *,
    started: bytes | None,
    request_id: bytes | None,
    pool_alias: bytes | None,
) -> Handover:
    """Return the handover of a VM that is ready now. `started` is its `clone` timestamp."""
    now, lifetime = context.clock(), context.settings.config.vm_lifetime_auth
    waited = age(started, now)
    return Handover(
        vm=vm,
        pool=pool,
        stamp=stamp(now),
        day=day(now),
        waited="" if waited is None else f"{waited:.2f}",
        request_id=request_id,
        pool_alias=pool_alias,
        token_lifetime="" if lifetime is None else f"{lifetime:g}",
    )


def complete_handover(context: PoolContext, handover: Handover, result: HandoverResult) -> None:
    """Log where the VM went, and mark its request ready if this was its last missing VM."""
    vm, pool, request_id = handover.vm, handover.pool, handover.request_id or b""
    name = on_one_line(readable(request_id))
    about = {"vm": vm, "pool": pool, **({"request": name} if name else {})}
    match result:
        case HandoverResult.READY:
            _log.info("[>] [%s] '%s' moved from 'pending' to 'ready' queue", pool, vm, extra=about)
        case HandoverResult.DELIVERED:
            _log.info("[>] [%s] '%s' is 'ready' for request '%s'", pool, vm, name, extra=about)
            _mark_request_of_vm(context, request_id)
        case HandoverResult.REQUEST_CLOSED:
            text = "[!] [%s] '%s' moved to completed queue: request '%s' is closed or gone"
            _log.info(text, pool, vm, name, extra=about)
        case HandoverResult.LEFT_QUEUE:
            _log.info("[ ] [%s] '%s' is no longer pending", pool, vm, extra=about)


def _mark_request_of_vm(context: PoolContext, request_id: bytes) -> None:
    text = fulfilment.read_requested(context.db, request_id)
    try:
        wanted = parse_requested(text or "")
    except ValueError:
        return  # the tick that fills requests fails it
    if text is not None:
        mark_request_if_filled(context, request_id, wanted)


def mark_request_if_filled(context: PoolContext, request_id: bytes, wanted: Sequence[Wanted]) -> bool:
    """Mark the request ready if all of the VMs that it wants are delivered. Return True if that happened now."""
    if not fulfilment.fill(context.db, request_id, wanted):
        return False
    name = on_one_line(readable(request_id))
    _log.info("[>] Request '%s' is filled", name, extra={"request": name})
    return True
