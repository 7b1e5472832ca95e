"""Questions about one VM. A provider that cannot answer them is left alone for a while, by all workers."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import ProviderTimeoutError, SuspendedError, VmNotFoundError
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.jobs.pools.provider_calls import within
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers import PoolSpec, Readiness, VirtualMachine
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import Question

T = TypeVar("T")

LOOK_SECONDS = 30.0


def find_vm(manager: PoolContext, pool: Pool, vm: str) -> VirtualMachine | None:
    """The VM, None if the provider is sure that there is none; bounded in time. Raises SuspendedError."""
    try:
        return _ask(manager, pool, manager.provider_of(pool).find_vm, vm)
    except VmNotFoundError:
        return None


def is_ready(manager: PoolContext, pool: Pool, vm: str) -> Readiness:
    """Whether the VM can be handed out; bounded in time. Raises SuspendedError."""
    try:
        found = _ask(manager, pool, manager.provider_of(pool).is_ready, vm)
    except VmNotFoundError as error:
        return Readiness(ready=False, error=str(error), error_class=type(error).__name__)
    return replace(found, error=redacted_text(found.error))


def _ask(manager: PoolContext, pool: Pool, question: Callable[[PoolSpec, str], T], vm: str) -> T:
    name, config = manager.settings.provider_of(pool), manager.settings.config
    standing = breakers.standing(manager.db, name)
    if standing.open_until is not None and standing.open_until > manager.clock():
        raise SuspendedError(f"provider {name!r} is left alone after failures")
    try:
        answer = within(LOOK_SECONDS, question, manager.spec(pool), vm)
    except VmNotFoundError:
        raise  # that is an answer
    except Exception as error:
        breakers.count_failure(
            manager.db,
            name,
            Question.LOOK,
            now=manager.clock(),
            most=config.breaker_failures,
            seconds=config.breaker_seconds,
            hung=isinstance(error, ProviderTimeoutError),
        )
        raise
    if standing.failed_looks:
        breakers.count_success(manager.db, name, Question.LOOK, most=config.breaker_failures)
    return answer
