"""The application: the API, the page, and the checks before both."""

from fastapi import FastAPI
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from vmpooler_tasks import __version__
from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.store import Database
from vmpooler_tasks.web import headers, pages, problems
from vmpooler_tasks.web.api import (
    deadletters,
    fleet,
    health,
    overview,
    pools,
    probes,
    purge,
    redrive,
    requests,
    session,
)
from vmpooler_tasks.web.api.responses import EVERYWHERE
from vmpooler_tasks.web.bind import allowed_hosts
from vmpooler_tasks.web.identity import Authenticator
from vmpooler_tasks.web.limits.requests import PROBES, RequestLimit
from vmpooler_tasks.web.printable_json import PrintableJson
from vmpooler_tasks.web.site import Site

MAX_BODY_BYTES = 1024 * 1024
"""The maximum of a request's body: a thousand ids fit."""

DESCRIPTION = """The queues of a VMPooler: health, dead letters, redrive, purge, audit.

Reading needs the role `read`, changing `operate`: by bearer token, HTTP Basic, or the session of the pages. What
changes something and comes with a session also needs the header `X-CSRF-Token`; `GET /api/v1/session` names its value.
"""


class _TrustedHosts(TrustedHostMiddleware):
    """Check the host name, except for probes: they use the address of this process, and get no data."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in PROBES:
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings, db: Database, clock: Clock, broker: Database | None = None) -> FastAPI:
    """Return the application. `broker` is the Redis with Celery's messages, if it is one: `db` or another one."""
    app = FastAPI(
        title="vmpooler-tasks",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        responses=EVERYWHERE,
    )
    app.state.site = Site(settings, db, broker, clock)
    app.state.authenticator = Authenticator(settings, db)
    problems.install(app)
    # redrive before /dlq/{id}
    for part in (session, health, overview, fleet, redrive, deadletters, requests, pools, purge, probes):
        app.include_router(part.router)
    pages.install(app)
    app.add_middleware(PrintableJson)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY_BYTES)
    app.add_middleware(RequestLimit)
    app.add_middleware(_TrustedHosts, allowed_hosts=allowed_hosts(settings.web), www_redirect=False)
    headers.install(app)
    if settings.web.proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.web.proxies))
    return app
