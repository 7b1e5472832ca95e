"""A thread that reports a cycle's entries, since thousands of log lines take longer than the purge itself."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import Self

from vmpooler_tasks.jobs.purge.entries import StaleEntry
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.model.purge import PurgeTarget

MAX_WAITING = 20
"""Batches that may wait. Then a cycle that purges faster than its lines are logged has to wait, to bound memory."""


class ReportThread:
    """Reports batches of entries in the order in which they are submitted."""

    def __init__(self, report: PurgeReport) -> None:
        self._report = report
        self._thread = ThreadPoolExecutor(1, "purge-log")
        self._context = copy_context()  # its log lines name the task that runs the cycle
        self._waiting: deque[Future[None]] = deque()

    def submit(self, target: PurgeTarget, pool: str, entries: Sequence[StaleEntry], max_age_seconds: float) -> None:
        """Have the batch reported; wait while too many others wait. Raise what reporting an earlier batch raised."""
        if entries:
            add = self._report.add_entries
            self._waiting.append(self._thread.submit(self._context.run, add, target, pool, entries, max_age_seconds))
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Wait until every batch is reported. Raise what reporting raised."""
        while self._waiting:
            self._waiting.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()
