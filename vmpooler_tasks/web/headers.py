"""Add the security headers to every response, and log each request."""

import logging
import time
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.web.problems import problem, unexpected_problem

_log = logging.getLogger("vmpooler_tasks.web")

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
HSTS = "max-age=31536000"
FIRST_ERROR_STATUS = 400
MAX_LOGGED_METHOD = 20
MAX_LOGGED_PATH = 300
READING_METHODS = ("GET", "HEAD")
RANGE_HEADERS = (b"range", b"if-range")
DETAILS: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "the header Host names no host of this server: see `hosts` in the section `:web:`",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is too large",
}
"""What is wrong, for the errors that middlewares send as plain text."""


def install(app: FastAPI) -> None:
    """Add the headers and the log line to every response of the application, and silence uvicorn's access log."""
    logging.getLogger("uvicorn.access").disabled = True  # its lines contain the search text
    app.add_middleware(_Envelope)


class _Envelope:
    """Around the whole application: what every response has in common, also that of an error nobody expected."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at = time.perf_counter()
        # RFC 9110 allows to ignore ranges, and starlette refuses those that it does not know.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in RANGE_HEADERS]
        request, response = Request(scope), _Response(send, scope)
        try:
            await self._app(scope, receive, response.send)
        except ClientDisconnect:
            _log.debug("[*] [web] %s %s: the client is gone", request.method, on_one_line(request.scope["path"]))
            return
        except Exception as error:
            if response.status:
                raise  # too late for another response: the server logs it, and closes the connection
            await unexpected_problem(request, error)(scope, receive, response.send)
        _log_request(request, response.status, time.perf_counter() - started_at)


class _Response:
    """Sends one response with the headers. A plain text that a middleware sends as an error becomes a problem."""

    def __init__(self, send: Send, scope: Scope) -> None:
        self._send, self._scope = send, scope
        self._is_replaced = False
        self.status = 0
        """0 until the response has started."""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            if self.status >= FIRST_ERROR_STATUS and headers.get("content-type", "").startswith("text/plain"):
                self._is_replaced = True
                replacement = problem(self.status, DETAILS.get(self.status, HTTPStatus(self.status).phrase))
                await replacement(self._scope, _no_request, self._send_with_headers)
                return
        if not self._is_replaced:
            await self._send_with_headers(message)

    async def _send_with_headers(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self._scope["scheme"] == "https":
                headers.setdefault("Strict-Transport-Security", HSTS)
            if "accept-ranges" in headers:
                headers["accept-ranges"] = "none"
            # Assets have no version in their names: a browser revalidates them each time.
            is_asset = self._scope["path"].startswith("/static/")
            headers.setdefault("Cache-Control", "no-cache" if is_asset else "no-store")
        await self._send(message)


async def _no_request() -> Message:
    return {"type": "http.disconnect"}


def _log_request(request: Request, status: int, seconds: float) -> None:
    """Log the request without its query, which may contain search text.

    Reading without an error is logged at DEBUG: the dashboard reads every few seconds.
    """
    level = logging.INFO if request.method not in READING_METHODS or status >= FIRST_ERROR_STATUS else logging.DEBUG
    address = request.client.host if request.client else "-"
    # Both may be as long as a head, from anybody.
    method, path = request.method[:MAX_LOGGED_METHOD], on_one_line(request.scope["path"][:MAX_LOGGED_PATH])
    _log.log(level, "[*] [web] %s %s %d for %s in %.3fs", method, path, status, address, seconds)
