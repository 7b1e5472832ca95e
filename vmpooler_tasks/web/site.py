"""What every request needs, created once: settings, databases, a clock, and limits for expensive requests."""

import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain
from typing import Annotated, Any

from anyio import CapacityLimiter, fail_after
from fastapi import Depends, HTTPException, Request

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.metrics.prometheus import exposition
from vmpooler_tasks.store import Database
from vmpooler_tasks.ttl_cache import ResultCache
from vmpooler_tasks.web.metrics_page import MetricsPage

MAX_SEARCHES = 4
MAX_USER_SEARCHES = 2
MAX_USER_WAITING = 20
"""Searches of one user that wait for their turn."""
SEARCH_WAIT_SECONDS = 10.0
MAX_EXPORTS = 4
RETRY = {"Retry-After": "5"}


class Searches:
    """Let MAX_SEARCHES run at a time, and MAX_USER_SEARCHES of one user. The others wait on the event loop.

    A search reads whole queues. A user with many of them does not hold up the others.
    """

    def __init__(self) -> None:
        self._all = CapacityLimiter(MAX_SEARCHES)
        self._of_users: defaultdict[str, CapacityLimiter] = defaultdict(lambda: CapacityLimiter(MAX_USER_SEARCHES))

    @asynccontextmanager
    async def turn(self, user: str) -> AsyncIterator[None]:
        """Wait for the turn of a user's search. Raise HTTPException 429 if too many wait, or for too long."""
        own, slot = self._of_users[user], object()
        if own.statistics().tasks_waiting >= MAX_USER_WAITING:
            raise _too_many()
        try:
            with fail_after(SEARCH_WAIT_SECONDS):
                await own.acquire_on_behalf_of(slot)
                try:
                    await self._all.acquire_on_behalf_of(slot)
                except BaseException:
                    own.release_on_behalf_of(slot)
                    raise
        except TimeoutError as error:
            raise _too_many() from error
        try:
            yield
        finally:
            self._all.release_on_behalf_of(slot)
            own.release_on_behalf_of(slot)


def _too_many() -> HTTPException:
    return HTTPException(HTTPStatus.TOO_MANY_REQUESTS, "too many searches run already; try again", RETRY)


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
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, busy, RETRY)
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
    searches: Searches = field(default_factory=Searches)

    def __post_init__(self) -> None:
        page = MetricsPage(lambda: exposition(self.db, self.settings, self.clock, self.broker))
        object.__setattr__(self, "metrics", page)  # the only way in a frozen dataclass


async def _site(request: Request) -> Site:
    """Return the site, on the event loop: a probe does not wait for a thread."""
    found: Site = request.app.state.site
    return found


Here = Annotated[Site, Depends(_site)]
