"""Limit how many requests run at a time, and make expensive ones wait for their turn."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends
from starlette.types import ASGIApp, Receive, Scope, Send

from vmpooler_tasks.web.permissions import Reader
from vmpooler_tasks.web.problems import problem
from vmpooler_tasks.web.site import RETRY, Here

MAX_REQUESTS = 200

PROBES = ("/healthz", "/readyz")


class RequestLimit:
    """Run at most MAX_REQUESTS at a time, and refuse others with 503. Probes do not count, and are never refused."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._running = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
        elif self._running >= MAX_REQUESTS:
            busy = problem(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests run already; try again", headers=RETRY)
            await busy(scope, receive, send)
        else:
            self._running += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._running -= 1


async def take_turn(site: Here, who: Reader) -> AsyncIterator[None]:
    """Wait on the event loop until the request may search; the turn ends before the response is sent."""
    async with site.searches.turn(who.name):
        yield


Searching = Annotated[None, Depends(take_turn, scope="function")]
"""A parameter of each operation that reads whole queues, histories or streams."""
