"""Limit how many requests run at a time, and make expensive ones wait for their turn."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vmpooler_tasks.web.permissions import Reader
from vmpooler_tasks.web.problems import problem
from vmpooler_tasks.web.site import RETRY, Here

MAX_REQUESTS = 200

MAX_BODIES_BYTES = 64 * 2**20
"""Of all requests together; that of one is at most 1 MiB."""

PROBES = ("/healthz", "/readyz")


class RequestLimit:
    """Run at most MAX_REQUESTS at a time, and refuse others with 503. Probes do not count, and are never refused.

    A request does not count while it waits for its client: for the rest of its body, or until its response is taken.
    Those that wait have deadlines of their own, and hold at most MAX_BODIES_BYTES of bodies together.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._running, self._bodies_bytes = app, 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
        elif self._running >= MAX_REQUESTS:
            busy = problem(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests run already; try again", headers=RETRY)
            await busy(scope, receive, send)
        else:
            await self._run(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        read_bytes, has_more = 0, True

        async def read() -> Message:
            nonlocal read_bytes, has_more
            if not has_more:  # what comes next is that the client is gone: meanwhile the request runs
                return await receive()
            with self._waiting():
                message = await receive()
            size, has_more = len(message.get("body", b"")), bool(message.get("more_body"))
            read_bytes += size
            self._bodies_bytes += size
            if self._bodies_bytes > MAX_BODIES_BYTES:
                raise HTTPException(
                    HTTPStatus.SERVICE_UNAVAILABLE, "too many bodies are read already; try again", RETRY
                )
            return message

        async def write(message: Message) -> None:
            with self._waiting():
                await send(message)

        self._running += 1
        try:
            await self._app(scope, read, write)
        finally:
            self._running -= 1
            self._bodies_bytes -= read_bytes

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Let a request not count during the block."""
        self._running -= 1
        try:
            yield
        finally:
            self._running += 1


async def take_turn(site: Here, who: Reader) -> AsyncIterator[None]:
    """Wait on the event loop until the request may search; the turn ends before the response is sent."""
    async with site.searches.turn(who.name):
        yield


Searching = Annotated[None, Depends(take_turn, scope="function")]
"""A parameter of each operation that reads whole queues, histories or streams."""
