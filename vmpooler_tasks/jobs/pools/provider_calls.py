"""Provider calls with a time limit, repeated where that may help.

A provider that hangs must not hold a worker for ever, and Celery's time limits do not reach a thread. Each call runs in
another thread, which is abandoned at the time limit. Threads that are free take the next calls: to start one costs
more than the rest of a call that returns at once.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

import tenacity

from vmpooler_tasks.errors import ProviderTimeoutError, ThrottledProviderError, VmNotFoundError
from vmpooler_tasks.model.pools.permanent_errors import is_permanent_error
from vmpooler_tasks.model.pools.retries import MAX_PAUSE_SECONDS, MIN_PAUSE_SECONDS
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers import PoolSpec, Provider

T = TypeVar("T")

LIST_SECONDS = 45.0
"""Time limit of an inventory. It holds a worker and the pool's lock."""

DESTROY_SECONDS = 600.0

FREE_SECONDS = 60.0
"""How long a thread waits for its next call before it ends."""

DNS_SECONDS = 120.0
"""Time limit of the deletion of a DNS record with its retries. A plugin limits each of its messages itself."""


def call_within(seconds: float, call: Callable[..., T], *args: Any) -> T:
    """Return what the call returns, or raise its error, with secrets redacted.

    Raise ProviderTimeoutError after so many seconds; the call's thread is then abandoned.
    """
    outcome: list[Any] = []
    done, context = _held_lock(), copy_context()

    def run() -> None:
        try:
            outcome.extend((True, context.run(call, *args)))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            outcome.extend((False, error))

    _free_thread().start(run, done)
    if not done.acquire(timeout=max(seconds, 0)):
        raise ProviderTimeoutError(f"no reply within {seconds:g} seconds")
    succeeded, result = outcome
    if not succeeded:
        _redact(result)
        raise result
    return result  # type: ignore[no-any-return]  # it is what `call` returned


class _CallThread:
    """A thread that runs one call after another. It ends after it was free for a while."""

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[[], None], threading.Lock]] = []
        self._wake = _held_lock()
        threading.Thread(target=self._run, name="provider", daemon=True).start()

    def start(self, call: Callable[[], None], done: threading.Lock) -> None:
        """Run the call, and release the lock at its end. Only for a thread that is free."""
        self._calls.append((call, done))
        self._wake.release()

    def _run(self) -> None:
        while self._wake.acquire(timeout=FREE_SECONDS) or not self._leave():
            while self._calls:
                call, done = self._calls.pop()
                call()
                del call  # and with it what the call returned
                _free_threads.append(self)  # first, so that the caller's next call finds it
                done.release()

    def _leave(self) -> bool:
        """Return True if no call can come any more. One may have come at the last moment."""
        try:
            _free_threads.remove(self)
        except ValueError:
            return False
        return True


_free_threads: list[_CallThread] = []
os.register_at_fork(after_in_child=_free_threads.clear)  # a forked child has none of its parent's threads


def _free_thread() -> _CallThread:
    try:
        return _free_threads.pop()
    except IndexError:
        return _CallThread()


def _held_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


def _redact(error: BaseException | None) -> None:
    """Redact secrets in the error and its causes: the log and dead letters show them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        with suppress(Exception):  # args may be anything
            error.args = tuple(redacted_text(arg) if isinstance(arg, str) else arg for arg in error.args)
        error = error.__cause__ or error.__context__


def destroy_vm(provider: Provider, pool: PoolSpec, vm: str, retries: "Retries") -> bool:
    """Destroy the VM, with a time limit and retries. Return False if the provider does not have it."""
    try:
        existed: bool = call_within(DESTROY_SECONDS, retries, provider.destroy_vm, pool, vm)
    except VmNotFoundError:
        return False
    return existed


class Retries:
    """Repeats calls that failed with an error that is not permanent, after growing random pauses."""

    def __init__(self, attempts: int, sleep: Callable[[float], None] | None = None) -> None:
        extra: dict[str, Any] = {} if sleep is None else {"sleep": sleep}
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=_pause,
            retry=tenacity.retry_if_exception(lambda error: not is_permanent_error(error)),
            reraise=True,
            **extra,
        )

    def __call__(self, call: Callable[..., T], *args: Any) -> T:
        """Return what the call returns, or raise its last error."""
        return self._retrying.copy()(call, *args)


_growing_pause = tenacity.wait_random_exponential(multiplier=MIN_PAUSE_SECONDS, max=MAX_PAUSE_SECONDS)


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the pause that the provider named, if it did; else a growing random one."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, ThrottledProviderError) and error.retry_after_seconds is not None:
        return min(error.retry_after_seconds, 3 * MAX_PAUSE_SECONDS)
    return _growing_pause(state)
