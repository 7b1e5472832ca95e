"""Looks at one ready VM: can it still be handed out? data-model.md: Ready check."""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.deadletters.retention import dead_letter_limits
from vmpooler_tasks.jobs.pools.context import PoolContext, stamp
from vmpooler_tasks.jobs.pools.failed_vm import letter_of, tell
from vmpooler_tasks.jobs.pools.guarded_calls import find_vm, is_ready
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import MINUTE, Fields, has_expired, ready_is_due
from vmpooler_tasks.model.requests import RequestRetry
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store.pools import vms

_log = logging.getLogger("vmpooler_tasks.pools")

UNREACHABLE = "VM became unreachable in ready queue"


def check(manager: PoolContext, vm: str, pool_name: str) -> str:
    """Keeps a ready VM, recycles or fails it; answers what came of it.

    Raises ProviderError if the provider does not say, SuspendedError if it is not asked.
    """
    pool, now = manager.pool(pool_name), manager.clock()
    limits = manager.limits(pool)
    (fields,) = vms.metadata(manager.db, [vm.encode()])
    if not ready_is_due(fields, limits, now):
        return "ready"  # looked at meanwhile, by an earlier message
    if has_expired(fields, limits, now):
        minutes = limits.ready_seconds / MINUTE
        return _recycle(manager, vm, pool, f"reached end of TTL after {minutes:g} minutes, removed from 'ready' queue")
    vms.note(manager.db, vm, "check", stamp(now))  # before it is asked: one that cannot say is not asked all the time
    found = find_vm(manager, pool, vm)
    if found and found.hostname and found.hostname != vm:
        named = on_one_line(found.hostname)
        return _recycle(manager, vm, pool, f"has mismatched hostname {named}, removed from 'ready' queue")
    readiness = is_ready(manager, pool, vm)
    if readiness.ready:
        return "ready"
    return "failed" if fail(manager, vm, pool.name, fields, readiness) else "gone"


def _recycle(manager: PoolContext, vm: str, pool: Pool, why: str) -> str:
    if not vms.complete(manager.db, vm, pool.name, Queue.READY):
        return "gone"
    _log.info("[!] [%s] '%s' %s", pool.name, vm, why)
    return "recycled"


def fail(manager: PoolContext, vm: str, pool: str, fields: Fields, readiness: Readiness) -> bool:
    """Its dead letter, and from ready to completed. False if it had left ready: a user has it."""
    error = readiness.error or readable(fields["open_socket_error"] or b"")
    letter = letter_of(
        manager,
        DeadLetterQueue.READY,
        vm,
        pool,
        fields,
        error_class=readiness.error_class,
        message=error or UNREACHABLE,
        identity=fields["ready"] or fields["clone"] or b"",
    )
    limits = dead_letter_limits(manager.settings)
    done = vms.fail(
        manager.db, vm, pool, Queue.READY, letter=letter, now=manager.clock(), limits=limits, retry=RequestRetry()
    )
    if not tell(letter, done.trimmed, limits, failed=done.failed):
        return False
    _log.warning(
        "[!] [%s] '%s' removed from 'ready' queue. vm unreachable with error: %s", pool, vm, on_one_line(error)
    )
    return True
