"""Server, worker, beat and Flower as one foreground command, with one readable log."""

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
from pathlib import Path
from typing import Any

from honcho.manager import Manager
from honcho.printer import Printer

from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.local import sample, server
from vmpooler_tasks.store import Database

FLOWER_PORT = 5555
FOLDER = Path(".vmpooler-tasks")


class AlreadyRunningError(VmpoolerTasksError):
    """It runs already"""

    exit_status = os.EX_TEMPFAIL


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
    if os.environ.get("REDIS_URL"):
        Database(settings.redis.location).call("PING")
        return _supervise(settings, os.environ["REDIS_URL"], None)
    with _exclusive(folder), server.running(folder) as (url, process):
        _fill_if_empty(url, settings)
        return _supervise(load_settings({**os.environ, "REDIS_URL": url}), url, process)


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    with (folder / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise AlreadyRunningError(
                f"process {lock.read().strip() or '?'} uses {folder.resolve()}; stop it, or start in another folder"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _fill_if_empty(url: str, settings: Settings) -> None:
    db = Database(url)
    if int(db.call("DBSIZE")) == 0 and settings.pools:
        sample.fill(db, [pool.name for pool in settings.pools], time.time())
        _say(f"The database was empty: filled with a sample of {len(settings.pools)} pools.")
    db.close()


def _supervise(settings: Settings, url: str, process: "subprocess.Popen[bytes] | None") -> int:
    password, flower_port = secrets.token_urlsafe(12), server.free_port(FLOWER_PORT)
    celery = f"{shlex.quote(sys.executable)} -m celery --quiet -A vmpooler_tasks"
    environment = {
        **os.environ,
        "REDIS_URL": url,
        "PYTHONUNBUFFERED": "1",
        "FLOWER_BASIC_AUTH": f"operator:{password}",  # in the environment, where other users cannot read it
    }
    manager = Manager(Printer(sys.stdout, time_format=""))  # the lines bring their own time
    manager._procmgr = _LeadersOnly()  # noqa: SLF001 - honcho would signal the worker's children as well
    for name, arguments in (
        ("worker", "worker --loglevel INFO --hostname worker@%h"),
        ("beat", "beat --loglevel INFO"),
        ("flower", f"flower --address={server.LOOPBACK} --port={flower_port} --logging=error"),
    ):
        manager.add_process(name, f"exec {celery} {arguments}", env=environment)
    _say(f"Redis:   {settings.redis.address}")
    _say(f"Flower:  http://{server.LOOPBACK}:{flower_port}  user operator, password {password}")
    _say("Try:     vmpooler-tasks health   (in another terminal; see the README)")
    _say("Ctrl-C stops everything.")
    if process is not None:
        threading.Thread(target=_stop_if_it_ends, args=(process,), daemon=True).start()
    signal.signal(signal.SIGHUP, _as_if_terminated)
    manager.loop()
    return 0 if manager.returncode in (130, 143) else int(manager.returncode or 0)


def _stop_if_it_ends(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    if process.returncode:
        _say(f"The private Redis ended with status {process.returncode}.")
        os.kill(os.getpid(), signal.SIGTERM)


def _as_if_terminated(*_: Any) -> None:
    """A closed terminal is a wish to stop."""
    os.kill(os.getpid(), signal.SIGTERM)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
