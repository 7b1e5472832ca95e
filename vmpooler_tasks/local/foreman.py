"""Server, workers, beat, web and Flower as one foreground command, with one readable log."""

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
from functools import partial
from pathlib import Path
from typing import IO, Any

from honcho.manager import Manager
from honcho.printer import Printer

from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.local import sample, server
from vmpooler_tasks.local.parent_death import PATIENCE_SECONDS, Part, is_running, soon
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.pool_context import try_providers
from vmpooler_tasks.tasks.registry import CHECK_QUEUE, CLONE_QUEUE, DESTROY_QUEUE, MAINTENANCE_QUEUE

FLOWER_PORT = 5555
USER = "operator"
FOLDER = Path(".vmpooler-tasks")
ENVIRONMENT = "env"
"""The file in the folder that a second terminal reads, to mean the same Redis and configuration."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the pages are, and the password for both."""

    web: str
    flower: str
    password: str

    @property
    def login(self) -> str:
        return f"{USER}:{self.password}"


class AlreadyRunningError(VmpoolerTasksError):
    """It runs already"""

    exit_status = os.EX_TEMPFAIL


class _Output:
    """Where the log goes. When nobody reads it any more (a closed terminal, `| head`), everything is stopped."""

    def write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            os.kill(os.getpid(), signal.SIGTERM)

    def flush(self) -> None:
        """Done by `write`."""

    def isatty(self) -> bool:
        return sys.stdout.isatty()


class _LeadersOnly:
    """Ends a process by asking its leader: Celery's worker stops its children itself, once their tasks are over."""

    def terminate(self, pid: int) -> None:
        os.kill(pid, signal.SIGTERM)

    def kill(self, pid: int) -> None:
        os.killpg(pid, signal.SIGKILL)


def run(settings: Settings, folder: Path = FOLDER) -> int:
    """Runs until it is told to stop, or a part of it ends; answers the exit status.

    With REDIS_URL set it is that server, which is left as it is; else a private one, filled with a sample if empty.
    """
    if settings.config.manage_pools:
        try_providers(settings)
    if given := os.environ.get("REDIS_URL"):
        Database(given).call("PING")
        with _exclusive(folder), _described(folder, settings, None, doors := _doors(settings)):
            return _supervise(settings, given, None, folder, doors)
    with _exclusive(folder), server.running(folder) as (url, process):
        _fill_if_empty(url, settings)
        with _described(folder, settings, url, doors := _doors(settings)):
            return _supervise(load_settings({**os.environ, "REDIS_URL": url}), url, process, folder, doors)


def _doors(settings: Settings) -> Doors:
    host = server.LOOPBACK
    return Doors(
        f"http://{host}:{server.free_port(settings.web.port)}",
        f"http://{host}:{server.free_port(FLOWER_PORT)}",
        secrets.token_urlsafe(12),
    )


def _port(address: str) -> str:
    return address.rpartition(":")[2]


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """One at a time in a folder. The forks hold the lock as well: it is free when all of them have ended."""
    folder.mkdir(exist_ok=True)
    with (folder / "run.lock").open("a+") as lock:
        # Of one that was killed, what it started is still ending.
        if not _locked(lock) and (_holder_runs(lock) or not soon(lambda: _locked(lock), 2 * PATIENCE_SECONDS)):
            raise AlreadyRunningError(
                f"process {_holder(lock) or '?'} uses {folder.resolve()}; stop it, or start in another folder"
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _locked(lock: IO[str]) -> bool:
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
def _described(folder: Path, settings: Settings, url: str | None, doors: Doors) -> Iterator[None]:
    """Keeps a shell's `export` lines in the folder. An address that was given is left out: it may hold a password."""
    named = Path(settings.source)
    exports = {
        "REDIS_URL": url,
        "VMPOOLER_CONFIG_FILE": str(named.resolve()) if named.is_file() else None,
        "VMPOOLER_WEB": doors.web,
        "VMPOOLER_WEB_LOGIN": None if settings.web.users else doors.login,
        "VMPOOLER_FLOWER": doors.flower,
        "VMPOOLER_FLOWER_LOGIN": doors.login,
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
        _say(f"The database was empty: filled with a sample of {len(settings.pools)} pools.")
    db.close()


def _supervise(
    settings: Settings, url: str, process: "subprocess.Popen[bytes] | None", folder: Path, doors: Doors
) -> int:
    celery = f"{shlex.quote(sys.executable)} -m celery --quiet -A vmpooler_tasks"
    environment = {
        **os.environ,
        "REDIS_URL": url,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser",  # a first look, in a container
        # In the environment, where other users cannot read it.
        "FLOWER_BASIC_AUTH": doors.login,
        **({} if settings.web.users else {"WEB_USERS": f"{USER}:operate:{doors.password}"}),
    }
    manager = Manager(Printer(_Output(), time_format=""))  # the lines bring their own time
    manager._process_ctor = partial(Part, lifeline=os.pipe())  # noqa: SLF001 - they end with us, however we end
    manager._procmgr = _LeadersOnly()  # noqa: SLF001 - honcho would signal the worker's children as well
    for name, arguments in (
        *_workers(settings),
        ("beat", "beat --loglevel INFO"),
        ("flower", f"flower --address={server.LOOPBACK} --port={_port(doors.flower)} --logging=error"),
    ):
        manager.add_process(name, f"exec {celery} {arguments}", env=environment)
    web = f"{shlex.quote(sys.executable)} -m vmpooler_tasks.cli web --host {server.LOOPBACK} --port {_port(doors.web)}"
    manager.add_process("web", f"exec {web}", env=environment)
    _say(f"Redis:   {settings.redis.address}")
    login = f"user {USER}, password {doors.password}"
    _say(f"Web:     {doors.web}  {'' if settings.web.users else login}".rstrip())
    _say(f"Flower:  {doors.flower}  {login}")
    _say(f"Try:     . {folder / ENVIRONMENT}; vmpooler-tasks health   (in another terminal, in this folder)")
    _say("Ctrl-C stops everything.")
    if process is not None:
        threading.Thread(target=_stop_if_it_ends, args=(process,), daemon=True).start()
    signal.signal(signal.SIGHUP, _as_if_terminated)
    manager.loop()
    return 0 if manager.returncode in (130, 143) else int(manager.returncode or 0)


def _workers(settings: Settings) -> Iterator[tuple[str, str]]:
    """One for everything; where pools are managed, what waits for a provider does so in others, many at once."""
    everything = "worker --loglevel INFO --hostname worker@%h"
    if not settings.config.manage_pools:
        yield "worker", everything
        return
    yield "worker", f"{everything} -Q {MAINTENANCE_QUEUE}"
    yield "checks", f"worker --loglevel INFO --hostname checks@%h -Q {CHECK_QUEUE} -P threads -c 32"
    yield "clones", f"worker --loglevel INFO --hostname clones@%h -Q {CLONE_QUEUE},{DESTROY_QUEUE} -P threads -c 100"


def _stop_if_it_ends(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    if process.returncode:
        _say(f"The private Redis ended with status {process.returncode}.")
        os.kill(os.getpid(), signal.SIGTERM)


def _as_if_terminated(*_: Any) -> None:
    """A closed terminal is a wish to stop."""
    os.kill(os.getpid(), signal.SIGTERM)


def _say(text: str) -> None:
    _Output().write(text + "\n")
