"""Run server, workers, beat, web and Flower as one foreground command, with one readable log."""

import asyncio
import fcntl
import os
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.local import sample, server
from vmpooler_tasks.local.parent_death import KILL_AFTER_SECONDS, Watcher, is_running, wait_until, watching
from vmpooler_tasks.local.supervisor import Part, Supervisor, print_or_stop
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.pool_context import try_providers
from vmpooler_tasks.tasks.registry import CHECK_QUEUE, CLONE_QUEUE, DESTROY_QUEUE, MAINTENANCE_QUEUE

FLOWER_PORT = 5555
USER = "operator"
FOLDER = Path(".vmpooler-tasks")
ENVIRONMENT_FILE = "env"
"""A file in the folder. A second terminal sources it to use the same Redis and configuration."""


@dataclass(frozen=True, slots=True)
class PageAccess:
    """The addresses of the two pages, and the password for both."""

    web: str
    flower: str
    password: str

    @property
    def login(self) -> str:
        return f"{USER}:{self.password}"


class AlreadyRunningError(VmpoolerTasksError):
    """It runs already"""

    exit_status = os.EX_TEMPFAIL


def run(settings: Settings, folder: Path = FOLDER) -> int:
    """Run until somebody stops it or a part of it ends, and return the exit status.

    If REDIS_URL is set, use that server and add no sample. Otherwise start a private one, and fill it with a sample if
    it is empty.
    """
    if settings.config.manage_pools:
        try_providers(settings)
    if address := os.environ.get("REDIS_URL"):
        Database(address).call("PING")
        with (
            _locked_folder(folder),
            watching() as watcher,
            _environment_file(folder, settings, None, pages := _choose_pages(settings)),
        ):
            _print_addresses(settings, folder, pages)
            return _supervise(settings, address, pages, watcher)
    with _locked_folder(folder), watching() as watcher, server.running(folder, watcher) as (url, process):
        _fill_if_empty(url, settings)
        with _environment_file(folder, settings, url, pages := _choose_pages(settings)):
            here = load_settings({**os.environ, "REDIS_URL": url})
            _print_addresses(here, folder, pages)
            threading.Thread(target=_stop_with_server, args=(process,), daemon=True).start()
            return _supervise(here, url, pages, watcher)


def _supervise(settings: Settings, url: str, pages: PageAccess, watcher: Watcher) -> int:
    return asyncio.run(Supervisor(list(_list_parts(settings, url, pages)), watcher).run())


def _choose_pages(settings: Settings) -> PageAccess:
    host = server.LOOPBACK
    return PageAccess(
        f"http://{host}:{server.free_port(settings.web.port)}",
        f"http://{host}:{server.free_port(FLOWER_PORT)}",
        secrets.token_urlsafe(12),
    )


def _port(address: str) -> str:
    return address.rpartition(":")[2]


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Lock the folder during the block, so that it has one run at a time. Raise AlreadyRunningError.

    The watcher holds the lock as well: it is free when every process has ended.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "run.lock").open("a+") as lock:
        # After a run was killed, its watcher still stops what it had started.
        if not _try_lock(lock) and (
            _is_holder_running(lock) or not wait_until(lambda: _try_lock(lock), 3 * KILL_AFTER_SECONDS)
        ):
            raise AlreadyRunningError(
                f"process {_read_holder(lock) or '?'} uses {folder.resolve()}; stop it, or start in another folder"
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read_holder(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip()


def _is_holder_running(lock: IO[str]) -> bool:
    holder = _read_holder(lock)
    return not holder.isdecimal() or is_running(int(holder))


@contextmanager
def _environment_file(folder: Path, settings: Settings, url: str | None, pages: PageAccess) -> Iterator[None]:
    """Keep a file of shell `export` lines in the folder during the block. Without `url`, REDIS_URL is not in it."""
    named = Path(settings.source)
    exports = {
        "REDIS_URL": url,
        "VMPOOLER_CONFIG_FILE": str(named.resolve()) if named.is_file() else None,
        "VMPOOLER_WEB": pages.web,
        "VMPOOLER_WEB_LOGIN": None if settings.web.users else pages.login,
        "VMPOOLER_FLOWER": pages.flower,
        "VMPOOLER_FLOWER_LOGIN": pages.login,
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in exports.items() if value]
    lines.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n')
    file = folder / ENVIRONMENT_FILE
    file.touch(mode=0o600)  # it holds a password
    file.write_text("".join(lines), encoding="utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


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
        **os.environ,
        "REDIS_URL": url,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser",  # in a container, to try it out
        # In the environment: other users can read a command line.
        "FLOWER_BASIC_AUTH": pages.login,
        **({} if settings.web.users else {"WEB_USERS": f"{USER}:operate:{pages.password}"}),
    }
    for name, arguments in (
        *_list_workers(settings),
        ("beat", "beat --loglevel INFO"),
        ("flower", f"flower --address={server.LOOPBACK} --port={_port(pages.flower)} --logging=error"),
    ):
        yield Part(name, (*celery, *arguments.split()), environment)
    web = ("-m", "vmpooler_tasks.cli", "web", "--host", server.LOOPBACK, "--port", _port(pages.web))
    yield Part("web", (sys.executable, *web), environment)


def _print_addresses(settings: Settings, folder: Path, pages: PageAccess) -> None:
    login = f"user {USER}, password {pages.password}"
    for line in (
        f"Redis:   {settings.redis.address}",
        f"Web:     {pages.web}  {'' if settings.web.users else login}".rstrip(),
        f"Flower:  {pages.flower}  {login}",
        f"Try:     . {folder / ENVIRONMENT_FILE}; vmpooler-tasks health   (in another terminal, in this folder)",
        "Ctrl-C stops everything.",
    ):
        print_or_stop(f"{line}\n")


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
