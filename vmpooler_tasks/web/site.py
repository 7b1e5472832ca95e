"""What every request needs, created once: settings, databases, a clock, and a limit for expensive requests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.store import Database
from vmpooler_tasks.web.ttl_cache import Fresh

MOST_SEARCHES = 4
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Site:
    """The objects of this process. `broker` is None if Celery's messages are not in a Redis."""

    settings: Settings
    db: Database
    broker: Database | None
    clock: Clock
    overviews: Fresh[Any] = field(default_factory=lambda: Fresh(1.0))
    histories: Fresh[Any] = field(default_factory=lambda: Fresh(10.0))
    groups: Fresh[Any] = field(default_factory=lambda: Fresh(2.0))
    _searches: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(MOST_SEARCHES))

    @contextmanager
    def search(self) -> Iterator[None]:
        """Limit requests that read whole queues to a few at a time, so that other requests stay fast."""
        if not self._searches.acquire(timeout=PATIENCE_SECONDS):
            busy = "too much is being searched; try again"
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, busy, {"Retry-After": "5"})
        try:
            yield
        finally:
            self._searches.release()


def _site(request: Request) -> Site:
    found: Site = request.app.state.site
    return found


Here = Annotated[Site, Depends(_site)]
