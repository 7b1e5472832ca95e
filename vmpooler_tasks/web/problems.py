"""Return the errors of the API as `application/problem+json` (RFC 9457), without details that readers may not see."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from vmpooler_tasks.errors import (
    InvalidInputError,
    ManagerOffError,
    ObserveOnlyError,
    StoreRefusedError,
    StoreUnavailableError,
    VmpoolerTasksError,
    WrongTypeError,
)
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store.redis.outages import OUTAGES

_log = logging.getLogger("vmpooler_tasks.web")

MEDIA_TYPE = "application/problem+json"
UNAVAILABLE_RETRY_SECONDS = 5

MAX_LISTED_ERRORS = 20
MAX_ERROR_LENGTH = 300
"""Bounds of the response to an invalid request: it is never longer than the request by much."""

WITHOUT_ADDRESS = "Redis does not reply, or refuses; the log of this process says where and why"
"""For clients without a login: they learn nothing about this installation."""

_STATUS: Mapping[type[VmpoolerTasksError], HTTPStatus] = {
    InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    StoreUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreRefusedError: HTTPStatus.SERVICE_UNAVAILABLE,
    WrongTypeError: HTTPStatus.CONFLICT,
    ManagerOffError: HTTPStatus.CONFLICT,
    ObserveOnlyError: HTTPStatus.CONFLICT,
}


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, errors: list[dict[str, str]] | None = None
) -> JSONResponse:
    """Return a problem. `errors` lists the wrong parts of a request."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    body["detail"] = detail
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status, headers, MEDIA_TYPE)


@contextmanager
def unknown_is_404() -> Iterator[None]:
    """Raise HTTPException 404 for an InvalidInputError within, which is an unknown name here."""
    try:
        yield
    except InvalidInputError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error.args[0])) from error


def install(app: FastAPI) -> None:
    """Make the application return every error that it expects as a problem; `headers` does the others."""
    app.add_exception_handler(HTTPException, _handle_http_error)
    app.add_exception_handler(RequestValidationError, _handle_invalid_request)
    app.add_exception_handler(VmpoolerTasksError, _handle_own_error)


async def _handle_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - for mypy: the handler is installed only for these
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(sorted(_methods(request)))}
    return problem(error.status_code, str(error.detail), headers=headers)


def _methods(request: Request) -> set[str]:
    """Return all methods of this path. Starlette lists only those of its first route."""
    paths = request.app.openapi()["paths"]
    requested = request.scope["path"]
    matching = (path for path in paths if compile_path(path)[0].match(requested))
    path = requested if requested in paths else next(matching, None)
    return {method.upper() for method in paths[path]} if path else {"GET"}


async def _handle_invalid_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    found = error.errors()
    errors = [
        {"where": _cut(".".join(map(str, one["loc"]))), "message": _cut(str(one["msg"]))}
        for one in found[:MAX_LISTED_ERRORS]
    ]
    detail = "; ".join(f"{one['where']}: {one['message']}" for one in errors)
    if len(found) > MAX_LISTED_ERRORS:
        detail += f"; and {len(found) - MAX_LISTED_ERRORS} more"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


def _cut(text: str) -> str:
    """Return at most MAX_ERROR_LENGTH characters. A name in a request may be as long as the request."""
    return text if len(text) <= MAX_ERROR_LENGTH else f"{text[:MAX_ERROR_LENGTH]}…"


async def _handle_own_error(request: Request, error: Exception) -> JSONResponse:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    is_known = isinstance(error, StoreUnavailableError) and OUTAGES.is_announcing  # a line when it starts, not for each
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not is_known:
        _log.warning("[!] [web] %s %s: %s", request.method, on_one_line(request.scope["path"]), on_one_line(str(error)))
    if status is not HTTPStatus.SERVICE_UNAVAILABLE:
        return problem(status, str(error))
    retry = {"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)}
    return problem(status, str(error) if _has_login(request) else WITHOUT_ADDRESS, headers=retry)


def _has_login(request: Request) -> bool:
    """Return whether the client may read where Redis is. A session cannot be read while Redis does not reply."""
    return request.app.state.authenticator.is_open or getattr(request.state, "has_login", False)


def unexpected_problem(request: Request, error: Exception) -> JSONResponse:
    """Log an error that no handler expects, and return it as a problem without its text."""
    _log.error("[!] [web] %s %s failed", request.method, on_one_line(request.scope["path"]), exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal server error; the log has the details")
