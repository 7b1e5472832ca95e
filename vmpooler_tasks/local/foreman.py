"""Run server, workers, beat, web and Flower as one foreground command, with one readable log."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.config.redis_address import read_address
from vmpooler_tasks.local import beside, sample, server
from vmpooler_tasks.local.folder import ENVIRONMENT_FILE, close_to_others, files_for_terminals, locked
from vmpooler_tasks.local.parent_death import Watcher, watching
from vmpooler_tasks.local.ports import LOOPBACK, choose_port
from vmpooler_tasks.local.printing import Log, print_or_stop
from vmpooler_tasks.local.supervisor import Part, Supervisor
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.pool_context import try_providers
from vmpooler_tasks.tasks.registry import CHECK_QUEUE, CLONE_QUEUE, DESTROY_QUEUE, MAINTENANCE_QUEUE

FLOWER_PORT = 5555
USER = "operator"
FOLDER = Path(".vmpooler-tasks")
LOG_FILE = Path("vmpooler.log")
"""The guide's commands read this file, in the folder in which the run was started."""

PRIVATE_UMASK = 0o077

PAGE_LOGINS = ("WEB_USERS", "WEB_TOKENS", "FLOWER_BASIC_AUTH", "VMPOOLER_WEB_LOGIN", "VMPOOLER_FLOWER_LOGIN")
"""Variables with logins for the pages. Only the process of a page gets those that it checks."""

Confirm = Callable[[str], None]
"""Shows a text and returns if somebody agrees to it. Raises if nobody does."""


@dataclass(frozen=True, slots=True)
class PageAccess:
    """The ports of the two pages, and the password for both."""

    web_port: int
    flower_port: int
    password: str

    @property
    def web(self) -> str:
        return f"http://{LOOPBACK}:{self.web_port}"

    @property
    def flower(self) -> str:
        return f"http://{LOOPBACK}:{self.flower_port}"

    @property
    def login(self) -> str:
        return f"{USER}:{self.password}"


def run(settings: Settings, confirm: Confirm, *, file: Path | None = None, folder: Path = FOLDER) -> int:
    """Run until somebody stops it or a part of it ends, and return the exit status.

    If REDIS_URL is set, use that server, add no sample, and start only after `confirm`. Otherwise start a private
    server, and fill it with a sample if it is empty. `file` is the configuration that `settings` were read from, if one
    was named.
    """
    address = os.environ.get("REDIS_URL")
    os.umask(PRIVATE_UMASK)  # the data of Redis, the logs and the logins are for this user alone
    with locked(folder):
        for log in (LOG_FILE, *LOG_FILE.parent.glob(f"{LOG_FILE.name}.*")):
            close_to_others(log)
        if address:
            settings = beside.settings_beside(settings, os.environ, file)
        if settings.config.manage_pools:
            try_providers(settings)
        if address:
            _confirm(settings, address, confirm)
        with watching() as watcher:
            if address:
                return _supervise(settings, address, folder, watcher, is_private=False)
            with server.running(folder, watcher) as (url, process):
                _fill_if_empty(url, settings)
                here = load_settings({**os.environ, "REDIS_URL": url}, file)
                threading.Thread(target=_stop_with_server, args=(process,), daemon=True).start()
                return _supervise(here, url, folder, watcher, is_private=True)


def _confirm(settings: Settings, address: str, confirm: Confirm) -> None:
    db = Database(address)
    db.call("PING")
    beside.refuse_other_fleet(db, settings)
    text = beside.describe(db, settings)
    db.close()
    confirm(text)


def _supervise(settings: Settings, url: str, folder: Path, watcher: Watcher, *, is_private: bool) -> int:
    pages = _choose_pages(settings)
    addresses = _addresses(settings, folder, pages, is_private=is_private)
    parts = list(_list_parts(settings, url, pages))
    log = Log([part.name for part in parts], LOG_FILE)
    with files_for_terminals(folder, _exports(settings, url if is_private else None, pages), addresses):
        print_or_stop(addresses)
        supervisor = Supervisor(parts, watcher, log, lambda: print_or_stop(f"\nEverything is up.\n{addresses}\n"))
        try:
            return asyncio.run(supervisor.run())
        finally:
            log.close()


def _choose_pages(settings: Settings) -> PageAccess:
    return PageAccess(
        choose_port(settings.web.port, "The web process"),
        choose_port(FLOWER_PORT, "Flower"),
        secrets.token_urlsafe(12),
    )


def _exports(settings: Settings, url: str | None, pages: PageAccess) -> dict[str, str | None]:
    """Return the variables for other terminals. Without `url`, REDIS_URL is not among them: it may hold a password."""
    named = Path(settings.source)
    return {
        **({"REDIS_URL": url, "REDISCLI_AUTH": read_address(url).password} if url else beside.exports(os.environ)),
        "VMPOOLER_CONFIG_FILE": str(named.resolve()) if named.is_file() else None,
        "VMPOOLER_WEB": pages.web,
        "VMPOOLER_WEB_LOGIN": None if settings.web.users else pages.login,
        "VMPOOLER_FLOWER": pages.flower,
        "VMPOOLER_FLOWER_LOGIN": pages.login,
    }


def _addresses(settings: Settings, folder: Path, pages: PageAccess, *, is_private: bool) -> str:
    login = f"user {USER}, password {pages.password}"
    source = f". {folder / ENVIRONMENT_FILE};"
    # REDIS_URL is in the file only if the server is ours: another one's may hold a password.
    command = "vmpooler-tasks health" if is_private else "REDIS_URL=… vmpooler-tasks health"
    lines = (
        f"Redis:   {settings.redis.address}",
        f"Web:     {pages.web}  {'' if settings.web.users else login}".rstrip(),
        f"Flower:  {pages.flower}  {login}",
        f"Log:     {LOG_FILE} has these lines in full",
        f"Try:     {source} {command}   (in another terminal)",
        f"Again:   {source} vmpooler-tasks run --show   shows these lines",
        "Ctrl-C stops everything.",
    )
    return "".join(f"{line}\n" for line in lines)


def _fill_if_empty(url: str, settings: Settings) -> None:
    db = Database(url)
    if int(db.call("DBSIZE")) == 0 and settings.pools:
        names = [pool.name for pool in settings.pools]
        sample.fill(db, names, time.time(), queues=not settings.config.manage_pools)
        print_or_stop(f"The database was empty: filled with a sample of {len(settings.pools)} pools.\n")
    db.close()


def _list_parts(settings: Settings, url: str, pages: PageAccess) -> Iterator[Part]:
    celery = (sys.executable, "-m", "celery", "--quiet", "-A", "vmpooler_tasks")
    environment = {
        **{name: value for name, value in os.environ.items() if name not in PAGE_LOGINS},
        "REDIS_URL": url,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser",  # in a container, to try it out
        **({} if settings.web.flower else {"WEB_FLOWER": pages.flower}),
    }
    for name, arguments in _list_workers(settings):
        yield Part(name, (*celery, *arguments.split()), environment, ready_text=" ready.")
    yield Part("beat", (*celery, "beat", "--loglevel", "INFO"), environment, ready_text="beat: Starting")
    flower = f"flower --address={LOOPBACK} --port={pages.flower_port} --logging=error"
    # Logins are in the environment: other users can read a command line.
    login = {"FLOWER_BASIC_AUTH": pages.login}
    yield Part("flower", (*celery, *flower.split()), {**environment, **login}, port=pages.flower_port)
    web = ("-m", "vmpooler_tasks.cli", "web", "--host", LOOPBACK, "--port", str(pages.web_port))
    yield Part("web", (sys.executable, *web), {**environment, **_web_logins(settings, pages)}, port=pages.web_port)


def _web_logins(settings: Settings, pages: PageAccess) -> dict[str, str]:
    """Return the variables with the logins of the web process: those of this process, or the printed one."""
    given = {name: os.environ[name] for name in ("WEB_USERS", "WEB_TOKENS") if name in os.environ}
    return given if settings.web.users else {**given, "WEB_USERS": f"{USER}:operate:{pages.password}"}


def _list_workers(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield (name, arguments) of the workers: one; with managed pools also those for the calls to providers."""
    everything = "worker --loglevel INFO --hostname worker@%h"
    if not settings.config.manage_pools:
        yield "worker", everything
        return
    yield "worker", f"{everything} -Q {MAINTENANCE_QUEUE}"
    yield "checks", f"worker --loglevel INFO --hostname checks@%h -Q {CHECK_QUEUE} -P threads -c 32"
    yield "clones", f"worker --loglevel INFO --hostname clones@%h -Q {CLONE_QUEUE},{DESTROY_QUEUE} -P threads -c 100"


def _stop_with_server(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    if process.returncode:
        print_or_stop(f"The private Redis ended with status {process.returncode}.\n")
        os.kill(os.getpid(), signal.SIGTERM)
