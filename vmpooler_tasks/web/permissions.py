"""Check the role of a request, and that a change comes from the dashboard's own pages."""

import hmac
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import APIKeyCookie, HTTPBasic, HTTPBearer

from vmpooler_tasks.config.services import Role
from vmpooler_tasks.web.identity import CHALLENGE, COOKIE, CSRF_HEADER, Gate, Identity


class _Basic(HTTPBasic):
    """Do nothing. The stock class would refuse requests with a challenge that opens a browser's login window."""

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        del request


# For the OpenAPI document only. The gate checks the credentials.
_SCHEMES = (
    HTTPBearer(auto_error=False, description="a token of `tokens:` in `:web:`"),
    _Basic(auto_error=False, description="a user of `users:` in `:web:`"),
    APIKeyCookie(name=COOKIE, auto_error=False, description="the cookie of POST /api/v1/session"),
)


def _seen(
    request: Request,
    _bearer: Annotated[object, Security(_SCHEMES[0])],
    _basic: Annotated[object, Security(_SCHEMES[1])],
    _cookie: Annotated[object, Security(_SCHEMES[2])],
) -> Identity | None:
    return whoever(request)


def whoever(request: Request) -> Identity | None:
    """Mark a path that needs no login."""
    gate: Gate = request.app.state.gate
    return gate.identify(request)


def reader(who: Annotated[Identity | None, Depends(_seen)]) -> Identity:
    if who is None:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "log in, or send a token", CHALLENGE)
    return who


def operator(request: Request, who: Annotated[Identity, Depends(reader)]) -> Identity:
    if who.role is not Role.OPERATE:
        raise HTTPException(HTTPStatus.FORBIDDEN, f"{who.name} has the role read, which may not change anything")
    refuse_foreign(request)
    refuse_without_token(request, who)
    return who


def refuse_foreign(request: Request) -> None:
    """Refuse requests from another site. A browser names the origin of a request, programs do not."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none") or (origin and urlsplit(origin).netloc != request.headers.get("host")):
        raise HTTPException(HTTPStatus.FORBIDDEN, "the request comes from another site's page")


def refuse_without_token(request: Request, who: Identity) -> None:
    given = request.headers.get(CSRF_HEADER, "").encode("utf-8", "replace")
    if who.csrf is not None and not hmac.compare_digest(given, who.csrf.encode()):
        raise HTTPException(
            HTTPStatus.FORBIDDEN, f"the header {CSRF_HEADER} must contain the token of GET /api/v1/session"
        )


Anybody = Annotated[Identity | None, Depends(whoever)]
Reader = Annotated[Identity, Depends(reader)]
Operator = Annotated[Identity, Depends(operator)]
