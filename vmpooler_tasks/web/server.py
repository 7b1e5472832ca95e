"""The web process."""

import logging
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.store import Database
from vmpooler_tasks.web.app import create_app
from vmpooler_tasks.web.bind import CannotListenError, listen, mistakes, shown_address

_log = logging.getLogger("vmpooler_tasks.web")

MOST_CONNECTIONS = 500
HTTP: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "http": "h11",
    "h11_max_incomplete_event_size": 1024 * 1024,
}
"""uvicorn's options. A query within the limits of the API may be longer than h11's default of 64 KiB."""

PATIENCE_SECONDS = 20
"""Time for running requests when the process stops."""


def _broker(settings: Settings, db: Database) -> Database:
    """Return the Redis of Celery's messages."""
    return db if settings.broker_url is None else Database(settings.broker_location)


class _Server(uvicorn.Server):
    """A server that ends normally on a signal. The stock one then kills itself with that signal."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield


def serve(settings: Settings) -> None:
    """Serve until a signal stops it. Raise ConfigurationError or CannotListenError before the start."""
    if found := list(mistakes(settings.web)):
        raise ConfigurationError(settings.source, found)
    line = listen(settings.web)
    db = Database(settings.redis.location)
    app = create_app(settings, db, system_clock, _broker(settings, db))
    try:
        config = uvicorn.Config(
            app,
            **HTTP,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=PATIENCE_SECONDS,
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
    _log.info("[*] [web] Serving %s for %s; Redis at %s", shown_address(settings.web), who, settings.redis.address)
    _Server(config).run(sockets=[line])
    _log.info("[*] [web] Stopped")
