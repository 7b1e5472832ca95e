"""Log in and out, and show who is logged in."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from vmpooler_tasks.web.api.parameters import Login
from vmpooler_tasks.web.api.responses import CHANGING, SessionResponse, problems
from vmpooler_tasks.web.identity import SESSION_SECONDS, Identity, cookie_name
from vmpooler_tasks.web.permissions import Anybody, authenticator, require_csrf_token, require_same_origin

router = APIRouter(prefix="/api/v1/session", tags=["session"])


@router.get("", summary="Who is logged in", responses=problems(401, 429, 503))
def show(request: Request, who: Anybody) -> SessionResponse:
    return _session_response(request, who)


@router.post("", summary="Log in", responses=CHANGING)
def log_in(request: Request, response: Response, login: Login) -> SessionResponse:
    """Start a session. The response sets a cookie that is valid for twelve hours."""
    require_same_origin(request)
    token, who = authenticator(request).log_in(request, login.user, login.password)
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.scope["scheme"] == "https",
    )
    return _session_response(request, who)


@router.delete("", summary="Log out", status_code=HTTPStatus.NO_CONTENT, responses=problems(401, 403, 429, 503))
def log_out(request: Request, response: Response, who: Anybody) -> None:
    require_same_origin(request)
    if who is not None:
        require_csrf_token(request, who)
        authenticator(request).log_out(request)
    response.delete_cookie(
        cookie_name(request), secure=request.scope["scheme"] == "https", httponly=True, samesite="strict"
    )


def _session_response(request: Request, who: Identity | None) -> SessionResponse:
    return SessionResponse(
        login_required=not authenticator(request).is_open,
        user=who and who.name,
        role=who and str(who.role),
        csrf_token=who and who.csrf,
    )
