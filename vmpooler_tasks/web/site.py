"""What every request needs, created once: settings, databases, a clock, and a limit for expensive requests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.metrics.prometheus import exposition
from vmpooler_tasks.store import Database
from vmpooler_tasks.ttl_cache import ResultCache
from vmpooler_tasks.web.metrics_page import MetricsPage

MAX_SEARCHES = 4
MAX_EXPORTS = 4
SEARCH_WAIT_SECONDS = 10.0


class Exports:
    """Limits exports to MAX_EXPORTS at a time: each reads whole queues, for as long as its client takes."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(MAX_EXPORTS)

    def limited(self, lines: Iterator[str]) -> Iterator[str]:
        """Return the lines, the first of which is read at once, so that its error is a response.

        Raise HTTPException 429 if too many exports run.
        """
        if not self._free.acquire(blocking=False):
            busy = "too many exports run already; try again"
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, busy, {"Retry-After": "5"})
        started = self._until_end(lines)
        return chain([next(started)], started)

    def _until_end(self, lines: Iterator[str]) -> Iterator[str]:
        """Yield the lines, the first of which may be empty. Ends also when the client goes: the generator is closed."""
        try:
            yield next(lines, "")
            yield from lines
        finally:
            self._free.release()


@dataclass(frozen=True, slots=True)
class Site:
    """The objects of this process. `broker` is None if Celery's messages are not in a Redis."""

    settings: Settings
    db: Database
    broker: Database | None
    clock: Clock
    overviews: ResultCache[Any] = field(default_factory=lambda: ResultCache(1.0))
    histories: ResultCache[Any] = field(default_factory=lambda: ResultCache(10.0))
    pools: ResultCache[Any] = field(default_factory=lambda: ResultCache(1.0))
    groups: ResultCache[Any] = field(default_factory=lambda: ResultCache(2.0))
    metrics: MetricsPage = field(init=False)
    exports: Exports = field(default_factory=Exports)
    _searches: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(MAX_SEARCHES))

    def __post_init__(self) -> None:
        page = MetricsPage(lambda: exposition(self.db, self.settings, self.clock, self.broker))
        object.__setattr__(self, "metrics", page)  # the only way in a frozen dataclass

    @contextmanager
    def search(self) -> Iterator[None]:
        """Limit requests that read whole queues to MAX_SEARCHES at a time, so that other requests stay fast.

        Raise HTTPException 429 if none of them ends within SEARCH_WAIT_SECONDS.
        """
        if not self._searches.acquire(timeout=SEARCH_WAIT_SECONDS):
            busy = "too many searches run already; try again"
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, busy, {"Retry-After": "5"})
        try:
            yield
        finally:
            self._searches.release()


def _site(request: Request) -> Site:
    found: Site = request.app.state.site
    return found


Here = Annotated[Site, Depends(_site)]
