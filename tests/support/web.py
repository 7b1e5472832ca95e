"""The web process's application behind a real socket, and real processes of it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from tests.support.ports import free_port
from tests.support.processes import until
from tests.support.world import settings
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.services import Credential, Role, WebSection
from vmpooler_tasks.store import Database
from vmpooler_tasks.web.app import create_app
from vmpooler_tasks.web.server import UVICORN_OPTIONS

PASSWORD = "a good long password"
OPERATOR = httpx.BasicAuth("olga", PASSWORD)
READER = httpx.BasicAuth("rita", PASSWORD)
TOKEN = "a-token-of-prometheus"


def web_section(**others: Any) -> WebSection:
    """Return a section with an operator, a reader, and a program that may read."""
    users = tuple(
        Credential(name=name, role=role, secret=PASSWORD)
        for name, role in (("olga", Role.OPERATE), ("rita", Role.READ))
    )
    token = Credential(name="prometheus", role=Role.READ, secret=TOKEN)
    return WebSection(**{"users": users, "tokens": (token,), **others})


def web_settings(url: str, web: WebSection | None = None, **options: Any) -> Settings:
    made = settings(**options)
    redis = made.redis.model_copy(update={"url": made.redis.model_validate({"url": url}).url})
    return made.model_copy(update={"redis": redis, "web": web_section() if web is None else web})


@contextmanager
def serving(
    url: str, chosen: Settings | None = None, clock: Callable[[], float] = system_clock, broker: Database | None = None
) -> Iterator[str]:
    """Serve the application on the Redis at `url` in a thread of this process, and yield its address."""
    chosen = chosen or web_settings(url)
    db = Database(url)
    own = None if chosen.broker_url else db
    try:
        with serving_app(create_app(chosen, db, clock, broker or own)) as address:
            yield address
    finally:
        db.close()


@contextmanager
def serving_app(app: Any, **options: Any) -> Iterator[str]:
    """Serve an ASGI application with the server of the web process in a thread, and yield its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, **UVICORN_OPTIONS, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), "the web server starts")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
