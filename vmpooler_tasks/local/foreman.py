"""Server, workers, beat, web and Flower as one foreground command, with one readable log."""

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
from vmpooler_tasks.local.parent_death import STOP_SECONDS, is_running, wait_until, watching
from vmpooler_tasks.local.supervisor import Part, Supervisor, write
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.pool_context import try_providers
from vmpooler_tasks.tasks.registry import CHECK_QUEUE, CLONE_QUEUE, DESTROY_QUEUE, MAINTENANCE_QUEUE

FLOWER_PORT = 5555
USER = "operator"
FOLDER = Path(".vmpooler-tasks")
ENVIRONMENT = "env"
"""The file in the folder that a second terminal sources, to use the same Redis and configuration."""


@dataclass(frozen=True, slots=True)
class Pages:
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

    With REDIS_URL set it uses that server, and leaves it as it is. Else it starts a private one, and fills it with a
    sample if it is empty.
    """
    if settings.config.manage_pools:
        try_providers(settings)
    if given := os.environ.get("REDIS_URL"):
        Database(given).call("PING")
        with _exclusive(folder), watching() as watcher, _described(folder, settings, None, pages := _pages(settings)):
            _print_addresses(settings, folder, pages)
            return asyncio.run(Supervisor(list(_parts(settings, given, pages)), watcher).run())
    with _exclusive(folder), watching() as watcher, server.running(folder, watcher) as (url, process):
        _fill_if_empty(url, settings)
        with _described(folder, settings, url, pages := _pages(settings)):
            here = load_settings({**os.environ, "REDIS_URL": url})
            _print_addresses(here, folder, pages)
            threading.Thread(target=_stop_with_server, args=(process,), daemon=True).start()
            return asyncio.run(Supervisor(list(_parts(here, url, pages)), watcher).run())


def _pages(settings: Settings) -> Pages:
    host = server.LOOPBACK
    return Pages(
        f"http://{host}:{server.free_port(settings.web.port)}",
        f"http://{host}:{server.free_port(FLOWER_PORT)}",
        secrets.token_urlsafe(12),
    )


def _port(address: str) -> str:
    return address.rpartition(":")[2]


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Allow one run in a folder. The watcher holds the lock as well: it is free when every process has ended."""
    folder.mkdir(exist_ok=True)
    with (folder / "run.lock").open("a+") as lock:
        # After a run was killed, its watcher still stops what it had started.
        if not _lock(lock) and (_holder_runs(lock) or not wait_until(lambda: _lock(lock), 3 * STOP_SECONDS)):
            raise AlreadyRunningError(
                f"process {_holder(lock) or '?'} uses {folder.resolve()}; stop it, or start in another folder"
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip()


def _holder_runs(lock: IO[str]) -> bool:
    holder = _holder(lock)
    return not holder.isdecimal() or is_running(int(holder))


@contextmanager
def _described(folder: Path, settings: Settings, url: str | None, pages: Pages) -> Iterator[None]:
    """Keep a shell's `export` lines in the folder, without an address that was given: it may hold a password."""
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
    file = folder / ENVIRONMENT
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
        write(f"The database was empty: filled with a sample of {len(settings.pools)} pools.\n")
    db.close()


def _parts(settings: Settings, url: str, pages: Pages) -> Iterator[Part]:
    celery = (sys.executable, "-m", "celery", "--quiet", "-A", "vmpooler_tasks")
    environment = {
        **os.environ,
        "REDIS_URL": url,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser",  # for trying it out in a container
        # In the environment, where other users cannot read it.
        "FLOWER_BASIC_AUTH": pages.login,
        **({} if settings.web.users else {"WEB_USERS": f"{USER}:operate:{pages.password}"}),
    }
    for name, arguments in (
        *_workers(settings),
        ("beat", "beat --loglevel INFO"),
        ("flower", f"flower --address={server.LOOPBACK} --port={_port(pages.flower)} --logging=error"),
    ):
        yield Part(name, (*celery, *arguments.split()), environment)
    web = ("-m", "vmpooler_tasks.cli", "web", "--host", server.LOOPBACK, "--port", _port(pages.web))
    yield Part("web", (sys.executable, *web), environment)


def _print_addresses(settings: Settings, folder: Path, pages: Pages) -> None:
    login = f"user {USER}, password {pages.password}"
    for line in (
        f"Redis:   {settings.redis.address}",
        f"Web:     {pages.web}  {'' if settings.web.users else login}".rstrip(),
        f"Flower:  {pages.flower}  {login}",
        f"Try:     . {folder / ENVIRONMENT}; vmpooler-tasks health   (in another terminal, in this folder)",
        "Ctrl-C stops everything.",
    ):
        write(f"{line}\n")


def _workers(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield (name, arguments): one worker, or where pools are managed one each for what waits for a provider."""
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
        write(f"The private Redis ended with status {process.returncode}.\n")
        os.kill(os.getpid(), signal.SIGTERM)
