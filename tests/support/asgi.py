"""Call the web application without a socket, with requests that no client library sends."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import unquote

from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI

T = TypeVar("T")


def run_async(function: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function in an event loop of a thread of its own, as `AsgiClient` does."""
    with start_blocking_portal() as loop:
        return loop.call(function)


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. Names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]

    def json(self) -> Any:
        return json.loads(self.body)


class AsgiClient:
    """Sends requests to an application as uvicorn passes them on. An error that the application raises is raised.

    Its event loop has a thread of its own: the thread of a test may have one already, which drives a browser.
    """

    def __init__(self, app: FastAPI, client: str = "192.0.2.1") -> None:
        self._app, self._client = app, client
        self._open = ExitStack()
        self._loop = self._open.enter_context(start_blocking_portal())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def request(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: Any = None) -> Reply:
        """Send a request. `target` is the path and query as they are on the wire; `body` becomes JSON."""
        reply: Reply = self._loop.call(self._send, method, target, {"Host": "127.0.0.1", **(headers or {})}, body)
        return reply

    async def _send(self, method: str, target: str, headers: Mapping[str, str], body: Any) -> Reply:
        content = b"" if body is None else json.dumps(body).encode()
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        if body is not None:
            raw += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": raw,
            "client": (self._client, 50_000),
            "server": ("127.0.0.1", 8080),
        }
        messages = [{"type": "http.request", "body": content, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        found = {name.decode().lower(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], found, b"".join(part.get("body", b"") for part in sent[1:]))
