"""The check of one ready VM: can it still be handed out? See docs/vmpooler-behaviour.md."""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext, stamp
from vmpooler_tasks.jobs.pools.failed_vm import VmFailure, build_dead_letter, log_dead_letter
from vmpooler_tasks.jobs.pools.guarded_calls import query_readiness, query_vm
from vmpooler_tasks.model.health.explanation import error_line
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import Fields, is_name_of, ready_is_due, reports_its_name
from vmpooler_tasks.model.pools.results import CheckResult
from vmpooler_tasks.model.requests import RequestRetry
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store.pools import vms

_log = logging.getLogger("vmpooler_tasks.pools")

UNREACHABLE = "VM became unreachable in ready queue"


def check(context: PoolContext, vm: str, pool_name: str) -> CheckResult:
    """Check a ready VM: keep it, complete it, or fail it.

    Raise ProviderError if the provider does not know, SuspendedError if it is suspended.
    """
    pool, now = context.pool(pool_name), context.clock()
    limits = context.limits(pool)
    (fields,) = vms.read_metadata(context.db, [vm.encode()])
    if not ready_is_due(fields, limits, now):
        return CheckResult.READY  # an earlier message led to a check
    vms.set_field(
        context.db, vm, "check", stamp(now)
    )  # first: a provider that does not know is not queried all the time
    found = query_vm(context, pool, vm)
    is_checked = context.checks_hostname(pool) and reports_its_name(fields, now)
    if is_checked and found and found.hostname and not is_name_of(found.hostname, vm):
        return _recycle(context, vm, pool, error_line(f"has mismatched hostname {found.hostname}"))
    readiness = query_readiness(context, pool, vm)
    if readiness.ready:
        return CheckResult.READY
    return fail(context, vm, pool.name, fields, readiness, is_missing=found is None)


def _recycle(context: PoolContext, vm: str, pool: Pool, why: str) -> CheckResult:
    if not vms.recycle_unfit(context.db, vm, pool.name, now=context.clock(), why=f"'{vm}' {why}"):
        return CheckResult.LEFT_QUEUE
    _log.info("[!] [%s] '%s' %s, removed from 'ready' queue", pool.name, vm, why)
    return CheckResult.COMPLETED


def fail(
    context: PoolContext, vm: str, pool: str, fields: Fields, readiness: Readiness, *, is_missing: bool
) -> CheckResult:
    """Write the VM's dead letter, and move it to completed, unless it has left ready: then a user has it.

    `is_missing`: its provider does not have it. The brake of the pool may hold it then.
    """
    error = readiness.error or readable(fields["open_socket_error"] or b"")
    failure = VmFailure(
        queue=DeadLetterQueue.READY,
        vm=vm,
        pool=pool,
        fields=fields,
        error_class=readiness.error_class,
        message=error or UNREACHABLE,
        identity=fields["ready"] or fields["clone"] or b"",
    )
    dead_letter = build_dead_letter(context, failure)
    failed = vms.fail(
        context.db,
        vm,
        pool,
        Queue.READY,
        dead_letter=dead_letter,
        retry=RequestRetry(),
        now=context.clock(),
        missing=context.missing_guard(vm, pool) if is_missing else None,
    )
    log_dead_letter(dead_letter, failed)
    if failed.failed:
        text = "[!] [%s] '%s' removed from 'ready' queue. vm unreachable with error: %s"
        _log.warning(text, pool, vm, on_one_line(error))
        return CheckResult.FAILED
    return CheckResult.HELD if failed.held else CheckResult.LEFT_QUEUE
