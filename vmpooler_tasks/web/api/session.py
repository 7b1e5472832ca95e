"""Logging in and out."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from vmpooler_tasks.web.api.parameters import Login
from vmpooler_tasks.web.api.responses import CHANGING, SessionResponse, problems
from vmpooler_tasks.web.identity import SESSION_SECONDS, Gate, Identity, cookie_name
from vmpooler_tasks.web.permissions import Anybody, refuse_foreign, refuse_without_token

router = APIRouter(prefix="/api/v1/session", tags=["session"])


@router.get("", summary="Who is logged in", responses=problems(401, 429, 503))
def show(request: Request, who: Anybody) -> SessionResponse:
    return _answer(request, who)


@router.post("", summary="Log in", responses=CHANGING)
def log_in(request: Request, response: Response, login: Login) -> SessionResponse:
    """The answer sets a cookie, which holds for twelve hours."""
    refuse_foreign(request)
    token, who = _gate(request).log_in(request, login.user, login.password)
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return _answer(request, who)


@router.delete("", summary="Log out", status_code=HTTPStatus.NO_CONTENT, responses=problems(401, 403, 429, 503))
def log_out(request: Request, response: Response, who: Anybody) -> None:
    refuse_foreign(request)
    if who is not None:
        refuse_without_token(request, who)
        _gate(request).log_out(request)
    response.delete_cookie(cookie_name(request), secure=request.url.scheme == "https", httponly=True, samesite="strict")


def _gate(request: Request) -> Gate:
    found: Gate = request.app.state.gate
    return found


def _answer(request: Request, who: Identity | None) -> SessionResponse:
    return SessionResponse(
        login_required=not _gate(request).is_open,
        user=who and who.name,
        role=who and str(who.role),
        csrf_token=who and who.csrf,
    )
