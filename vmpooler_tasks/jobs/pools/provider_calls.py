"""Questions and orders to a provider: bounded in time, and repeated where that may help.

A provider that hangs must not hold a worker for ever, and the time limits of Celery do not reach a thread: each call
runs in a thread of its own, and is given up when it is late.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

import tenacity

from vmpooler_tasks.errors import ProviderTimeoutError, ThrottledProviderError, VmNotFoundError
from vmpooler_tasks.model.pools.permanent_errors import is_permanent_error
from vmpooler_tasks.model.pools.retries import ATTEMPTS, LONGEST_SECONDS, SHORTEST_SECONDS
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers import PoolSpec, Provider

T = TypeVar("T")

LIST_SECONDS = 45.0
"""It holds a worker, and the pool: no longer than the pool is locked."""

DESTROY_SECONDS = 600.0


def within(seconds: float, call: Callable[..., T], *args: Any) -> T:
    """What the call answers or raises; ProviderTimeoutError after so many seconds, and its thread is left to itself."""
    outcome: list[Any] = []
    done, context = threading.Event(), copy_context()

    def run() -> None:
        try:
            outcome.extend((True, context.run(call, *args)))
        except BaseException as error:  # noqa: BLE001 - it is raised again where somebody waits for it
            outcome.extend((False, error))
        done.set()

    threading.Thread(target=run, name="provider", daemon=True).start()
    if not done.wait(seconds):
        raise ProviderTimeoutError(f"no answer within {seconds:g} seconds")
    answered, what = outcome
    if not answered:
        _redact(what)
        raise what
    return what  # type: ignore[no-any-return]  # it is what `call` answered


def _redact(error: BaseException | None) -> None:
    """A provider's errors are told in the log and in dead letters: there they hold no secrets, nor do their causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        with suppress(Exception):  # args may be anything
            error.args = tuple(redacted_text(arg) if isinstance(arg, str) else arg for arg in error.args)
        error = error.__cause__ or error.__context__


def destroy_vm(provider: Provider, pool: PoolSpec, vm: str, retries: "Retries") -> bool:
    """Whether there was such a VM; bounded in time, and tried again where that may help."""
    try:
        existed: bool = within(DESTROY_SECONDS, retries, provider.destroy_vm, pool, vm)
    except VmNotFoundError:
        return False
    return existed


class Retries:
    """How a provider is asked again: what is not permanent, a few times, with a growing random pause."""

    def __init__(self, attempts: int = ATTEMPTS, sleep: Callable[[float], None] | None = None) -> None:
        extra: dict[str, Any] = {} if sleep is None else {"sleep": sleep}
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=_pause,
            retry=tenacity.retry_if_exception(lambda error: not is_permanent_error(error)),
            reraise=True,
            **extra,
        )

    def __call__(self, call: Callable[..., T], *args: Any) -> T:
        """What the call answers, or the last error that it raised."""
        return self._retrying.copy()(call, *args)


_growing = tenacity.wait_random_exponential(multiplier=SHORTEST_SECONDS, max=LONGEST_SECONDS)


def _pause(state: tenacity.RetryCallState) -> float:
    """As long as the provider asked for, if it did."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, ThrottledProviderError) and error.retry_after_seconds is not None:
        return min(error.retry_after_seconds, 3 * LONGEST_SECONDS)
    return _growing(state)
