"""Queries about one VM, guarded by the circuit breaker: too many failures suspend the provider for all workers."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import ProviderTimeoutError, SuspendedError, VmNotFoundError
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.jobs.pools.provider_calls import call_within
from vmpooler_tasks.model.health.explanation import error_line
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers import PoolSpec, Readiness, VirtualMachine
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import CallKind

T = TypeVar("T")

CHECK_SECONDS = 30.0
"""Time limit of one query."""


def query_vm(context: PoolContext, pool: Pool, vm: str) -> VirtualMachine | None:
    """Return the VM, or None if the provider is sure that it has none. Raise SuspendedError or ProviderError."""
    try:
        return _call_guarded(context, pool, context.provider_of(pool).find_vm, vm)
    except VmNotFoundError:
        return None


def query_readiness(context: PoolContext, pool: Pool, vm: str) -> Readiness:
    """Return whether the VM can be handed out. Raise SuspendedError or ProviderError."""
    try:
        found = _call_guarded(context, pool, context.provider_of(pool).is_ready, vm)
    except VmNotFoundError as error:
        return Readiness(ready=False, error=str(error), error_class=type(error).__name__)
    return replace(found, error=redacted_text(found.error))


def query_part(
    context: PoolContext, pool: Pool, query: Callable[[PoolSpec, str, str], bool], vm: str, part: str
) -> bool:
    """Return whether the VM has this disk or snapshot, as `query` (a method of the provider) says. Raise ProviderError.

    A failure counts as that of a check. A suspension does not stop the query: it is read before an order is claimed.
    """
    state = breakers.read_state(context.db, context.settings.provider_of(pool), pool.name)
    return _call_counted(context, pool, state, query, vm, part)


def _call_guarded(context: PoolContext, pool: Pool, call: Callable[[PoolSpec, str], T], vm: str) -> T:
    name = context.settings.provider_of(pool)
    state = breakers.read_state(context.db, name, pool.name)
    if state.refuses_calls(context.clock()):
        raise SuspendedError(f"provider {name!r} is suspended after failures")
    if state.refuses_checks(context.clock()):
        raise SuspendedError(f"pool {pool.name!r} is suspended after failures")
    return _call_counted(context, pool, state, call, vm)


def _call_counted(
    context: PoolContext, pool: Pool, state: breakers.ProviderState, call: Callable[..., T], *args: str
) -> T:
    """Return what the call returns, or raise its error. Count a failure for the breaker, and let a success reset it."""
    name = context.settings.provider_of(pool)
    limits = context.breaker_limits(name)
    try:
        result = call_within(CHECK_SECONDS, call, context.spec(pool), *args)
    except VmNotFoundError:
        raise  # a valid reply, not a failure
    except Exception as error:
        breakers.count_failure(
            context.db,
            name,
            CallKind.CHECK,
            limits,
            pool=pool.name,
            now=context.clock(),
            error=error_line(str(error)),
            hung=isinstance(error, ProviderTimeoutError),
        )
        raise
    if state.failed_checks:
        breakers.count_success(context.db, name, CallKind.CHECK, limits, pool=pool.name)
    return result
