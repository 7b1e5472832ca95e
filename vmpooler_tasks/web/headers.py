"""Add the security headers to every response, and log each request."""

import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import FastAPI, Request, Response

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.web.problems import problem

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
READING_METHODS = ("GET", "HEAD")


def install(app: FastAPI) -> None:
    """Add the headers and the log line to every response of the application, and silence uvicorn's access log."""
    logging.getLogger("uvicorn.access").disabled = True  # its lines contain the search text
    app.middleware("http")(_with_headers)


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    started = time.perf_counter()
    response = await call_next(request)
    if response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # the middleware replies in plain text
        response = problem(response.status_code, "the body is too large")
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.url.scheme == "https":
        response.headers.setdefault("Strict-Transport-Security", HSTS)
    # Assets have no version in their names: a browser revalidates them each time.
    response.headers.setdefault("Cache-Control", "no-cache" if request.url.path.startswith("/static/") else "no-store")
    _log_request(request, response.status_code, time.perf_counter() - started)
    return response


def _log_request(request: Request, status: int, seconds: float) -> None:
    """Log the request without its query, which may contain search text.

    Reading without an error is logged at DEBUG: the dashboard reads every few seconds.
    """
    level = logging.INFO if request.method not in READING_METHODS or status >= FIRST_ERROR_STATUS else logging.DEBUG
    address = request.client.host if request.client else "-"
    path = on_one_line(request.url.path)
    _log.log(level, "[*] [web] %s %s %d for %s in %.3fs", request.method, path, status, address, seconds)
