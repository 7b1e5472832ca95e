"""Questions about one VM. A provider that cannot answer them is left alone for a while, by all workers."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import LeftAloneError, ProviderTimeoutError, VmNotFoundError
from vmpooler_tasks.jobs.manager import Manager
from vmpooler_tasks.jobs.provider_calls import within
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers import PoolSpec, Readiness, VirtualMachine
from vmpooler_tasks.store import breakers
from vmpooler_tasks.store.breakers import Question

T = TypeVar("T")

LOOK_SECONDS = 30.0


def find_vm(manager: Manager, pool: Pool, vm: str) -> VirtualMachine | None:
    """The VM, None if the provider is sure that there is none; bounded in time. Raises LeftAloneError."""
    try:
        return _ask(manager, pool, manager.provider_of(pool).find_vm, vm)
    except VmNotFoundError:
        return None


def is_ready(manager: Manager, pool: Pool, vm: str) -> Readiness:
    """Whether the VM can be handed out; bounded in time. Raises LeftAloneError."""
    try:
        found = _ask(manager, pool, manager.provider_of(pool).is_ready, vm)
    except VmNotFoundError as error:
        return Readiness(ready=False, error=str(error), error_class=type(error).__name__)
    return replace(found, error=redacted_text(found.error))


def _ask(manager: Manager, pool: Pool, question: Callable[[PoolSpec, str], T], vm: str) -> T:
    name, config = manager.settings.provider_of(pool), manager.settings.config
    standing = breakers.standing(manager.db, name)
    if standing.open_until is not None and standing.open_until > manager.clock():
        raise LeftAloneError(f"provider {name!r} is left alone after failures")
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
