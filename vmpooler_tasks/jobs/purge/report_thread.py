"""Tells of a cycle's entries beside the cycle: thousands of log lines take longer than the purge itself."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import NamedTuple, Self

from vmpooler_tasks.jobs.purge.report import PurgeReport

MOST_WAITING = 20
"""Batches that may wait to be told: whoever purges faster than the log takes it has to wait, not to hold more."""


class Stale(NamedTuple):
    """An entry to be purged: its name, its timestamp as read (b"" for none), its age in seconds."""

    vm: bytes
    stamp: bytes
    age: float


class Scribe:
    """Reports batch after batch, in the order in which they come, in a thread of its own."""

    def __init__(self, report: PurgeReport) -> None:
        self._report = report
        self._thread = ThreadPoolExecutor(1, "purge-log")
        self._context = copy_context()  # its lines are about the task that has the cycle
        self._waiting: deque[Future[None]] = deque()

    def tell(self, what: str, pool: str, entries: Sequence[Stale], max_age_seconds: float) -> None:
        """Raises what telling an earlier batch raised."""
        if entries:
            self._waiting.append(
                self._thread.submit(self._context.run, self._tell, what, pool, entries, max_age_seconds)
            )
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Waits until everything is told. Raises what telling raised."""
        while self._waiting:
            self._waiting.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def _tell(self, what: str, pool: str, entries: Sequence[Stale], max_age_seconds: float) -> None:
        self._report.entries_of(what, pool, ((entry.vm, entry.age) for entry in entries), max_age_seconds)
