"""The document of `/metrics`, made once for all who scrape it at the same time."""

import asyncio
import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

MIN_KEPT_SECONDS = 1.0
MAX_KEPT_SECONDS = 10.0
KEPT_FOR_EACH_SECOND = 5
"""How many seconds a document is kept for each second that it took: scrapes take at most a sixth of the time."""


class MetricsPage:
    """Makes the document and keeps it for some seconds. Scrapes that come meanwhile wait without a thread.

    With 10,000 pools the document takes seconds. With a few pools it is never older than a second.
    """

    def __init__(self, make: Callable[[], bytes], timer: Callable[[], float] = time.monotonic) -> None:
        self._make, self._timer = make, timer
        self._making = asyncio.Lock()
        self._document, self._kept_until = b"", 0.0

    async def read(self) -> bytes:
        """Return the kept document, or make it and keep it."""
        async with self._making:
            started_at = self._timer()
            if started_at >= self._kept_until:
                self._document = await run_in_threadpool(self._make)
                ended_at = self._timer()
                seconds = KEPT_FOR_EACH_SECOND * (ended_at - started_at)
                self._kept_until = ended_at + min(max(seconds, MIN_KEPT_SECONDS), MAX_KEPT_SECONDS)
            return self._document
