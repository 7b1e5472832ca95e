"""Check the role of a request, and that a change comes from the dashboard's own pages."""

import hmac
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import APIKeyCookie, HTTPBasic, HTTPBearer

from vmpooler_tasks.config.services import Role
from vmpooler_tasks.web.identity import CHALLENGE, COOKIE, CSRF_HEADER, Authenticator, Identity


class _SilentBasic(HTTPBasic):
    """Describe HTTP Basic only. The stock class sends a challenge that opens a browser's login window."""

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        del request


# For the OpenAPI document only. The authenticator checks the credentials.
_SCHEMES = (
    HTTPBearer(auto_error=False, description="a token of `tokens:` in `:web:`"),
    _SilentBasic(auto_error=False, description="a user of `users:` in `:web:`"),
    APIKeyCookie(name=COOKIE, auto_error=False, description="the cookie of POST /api/v1/session"),
)


def _identify_documented(
    request: Request,
    _bearer: Annotated[object, Security(_SCHEMES[0])],
    _basic: Annotated[object, Security(_SCHEMES[1])],
    _cookie: Annotated[object, Security(_SCHEMES[2])],
) -> Identity | None:
    """Identify the request, and name the ways to log in in the OpenAPI document."""
    return identify(request)


def authenticator(request: Request) -> Authenticator:
    """Return the authenticator of this process."""
    found: Authenticator = request.app.state.authenticator
    return found


def identify(request: Request) -> Identity | None:
    """Return the identity of a request that needs no login; None without credentials."""
    return authenticator(request).identify(request)


def require_reader(request: Request, who: Annotated[Identity | None, Depends(_identify_documented)]) -> Identity:
    """Return the identity. Raise HTTPException 401 without credentials.

    Mark the request, so that its errors may name the address of Redis (`problems`).
    """
    if who is None:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "log in, or send a token", CHALLENGE)
    request.state.has_login = True
    return who


def require_operator(request: Request, who: Annotated[Identity, Depends(require_reader)]) -> Identity:
    """Return the identity. Raise HTTPException 403 for other roles, foreign pages, and a wrong CSRF token."""
    if who.role is not Role.OPERATE:
        raise HTTPException(HTTPStatus.FORBIDDEN, f"{who.name} has the role read, which may not change anything")
    require_same_origin(request)
    require_csrf_token(request, who)
    return who


def require_same_origin(request: Request) -> None:
    """Raise HTTPException 403 for a request from another site. A browser names the origin, a program does not."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none") or (origin is not None and _host_of(origin) != request.headers.get("host")):
        raise HTTPException(HTTPStatus.FORBIDDEN, "the request comes from another site's page")


def _host_of(origin: str) -> str | None:
    """Return the host and port of an origin; None if it is not the origin of a web page (`null`)."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc if parts.scheme in ("http", "https") else None


def require_csrf_token(request: Request, who: Identity) -> None:
    """Raise HTTPException 403 if a browser's request does not have the CSRF token of its session."""
    given = request.headers.get(CSRF_HEADER, "").encode("utf-8", "replace")
    if who.csrf is not None and not hmac.compare_digest(given, who.csrf.encode()):
        raise HTTPException(
            HTTPStatus.FORBIDDEN, f"the header {CSRF_HEADER} must contain the token of GET /api/v1/session"
        )


Anybody = Annotated[Identity | None, Depends(identify)]
Reader = Annotated[Identity, Depends(require_reader)]
Operator = Annotated[Identity, Depends(require_operator)]
