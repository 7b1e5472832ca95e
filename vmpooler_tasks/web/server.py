"""Run the web process until a signal stops it."""

import logging
import resource
import signal
import ssl
import sys
from typing import Any

import uvicorn

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.jobs.notifications.notifier import Notifier
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.redis.connection import follow_outages
from vmpooler_tasks.web.app import create_app
from vmpooler_tasks.web.bind import CannotListenError, browser_url, listen, section_problems
from vmpooler_tasks.web.limits.connection import KEEP_ALIVE_SECONDS, ClientConnection

_log = logging.getLogger("vmpooler_tasks.web")

UVICORN_OPTIONS: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,  # the application trusts the proxies of the configuration
    "http": ClientConnection,
    "loop": "vmpooler_tasks.web.limits.loop:WebLoop",
    "ws": "none",
    "timeout_keep_alive": KEEP_ALIVE_SECONDS,
}
"""The limits are not among these options: `ClientConnection` and `web.limits.requests` have them."""

MAX_OPEN_FILES = 8192
"""Connections count as open files. A client that has not finished its TLS handshake is not yet in MAX_CLIENTS."""

SWITCH_SECONDS = 0.001
"""How long a thread that searches may run while the event loop waits for its turn. Python's own value is 0.005."""

SHUTDOWN_SECONDS = 20
"""How long running requests may take when the process stops."""


def _broker(settings: Settings, db: Database) -> Database:
    """Return the Redis with Celery's messages."""
    return db if settings.broker_url is None else Database(settings.broker_location)


def _allow_open_files() -> None:
    """Raise the soft limit of open files, which is often 1024, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _end_normally_on_signals(server: uvicorn.Server) -> None:
    """Make a signal end this process with status 0.

    Uvicorn handles signals itself while it serves. When it has stopped, it restores these handlers and repeats the
    signal, which would kill the process by default.
    """

    def stop(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def serve(settings: Settings) -> None:
    """Serve until a signal stops it. Raise ConfigurationError or CannotListenError before the start."""
    if problems := list(section_problems(settings.web)):
        raise ConfigurationError(settings.source, problems)
    listener = listen(settings.web)
    db = Database(settings.redis.location)
    broker = _broker(settings, db)
    app = create_app(settings, db, db.clock, broker)
    try:
        config = uvicorn.Config(
            app,
            **UVICORN_OPTIONS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            ssl_certfile=settings.web.tls_certificate,
            ssl_keyfile=settings.web.tls_key,
        )
        config.load()
    except (ssl.SSLError, OSError) as error:
        raise CannotListenError(f"{settings.web.tls_certificate}: {error.strerror or error}") from error
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its lines at start and end repeat the ones below
    users, tokens = len(settings.web.users), len(settings.web.tokens)
    who = "everybody on this machine, without a login"
    if users or tokens:
        who = f"{users} user{'s' * (users != 1)} and {tokens} token{'s' * (tokens != 1)}"
    _log.info("[*] [web] Serving %s for %s; Redis at %s", browser_url(settings.web), who, settings.redis.address)
    server = uvicorn.Server(config)
    _allow_open_files()
    sys.setswitchinterval(SWITCH_SECONDS)
    _end_normally_on_signals(server)
    follow_outages(db, broker)
    # With every worker and beat down, this process is left.
    Notifier(db, settings, db.clock, follows_outages=True).start()
    server.run(sockets=[listener])
    _log.info("[*] [web] Stopped")
