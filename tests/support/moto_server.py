"""Moto's real HTTP server, a process of its own: EC2, Route 53, IAM and whatever else the tests need of AWS.

`tests.support.moto_main` is the process. It adds to moto what AWS has and moto lacks, and makes calls fail as a test
says.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import free_port
from tests.support.processes import PATIENCE, ROOT, until

REGION = "us-east-1"
LOGIN = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
"""The environment of the SDK's own credential chain. Moto accepts every login, unless `authenticate` was called."""

IMAGE = "ami-03cf127a"
"""An image that moto has from its start."""


class MotoServer:
    """A server that can be frozen, emptied, and told to fail."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "moto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "MotoServer":
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.moto_main", str(self.port)],
                cwd=ROOT,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._replies, lambda: f"moto replies:\n{self._log.read_text()[-2000:]}")
        return self

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def reset(self) -> None:
        """Remove everything that was made, all faults, and the list of calls."""
        self._post("/moto-api/reset")
        self._post("/test/reset")

    def authenticate(self, *, on: bool) -> None:
        """Check logins and IAM policies from now on, or accept every login again."""
        self._post("/moto-api/reset-auth", b"0" if on else b"inf")

    def fail(self, *faults: dict[str, Any]) -> None:
        """Let calls fail from now on, in place of the faults so far. `tests.support.moto_main.Fault` has the fields."""
        self._post("/test/faults", json.dumps(faults).encode())

    def set_pending(self, seconds: float) -> None:
        """Let instances that are started from now on be pending for so long."""
        self._post("/test/pending", json.dumps(seconds).encode())

    def fill(self, count: int, **tags: str) -> list[str]:
        """Start so many instances at once, with these tags. Return their names."""
        names = [f"large-{number}" for number in range(count)]
        self._post("/test/fill", json.dumps([names, tags]).encode())
        return names

    def set_quota(self, code: str, value: float) -> None:
        self._post("/test/quota", json.dumps([code, value]).encode())

    def calls(self) -> list[str]:
        """Return the actions that were called, in order, without those of a dry run."""
        found: list[str] = httpx.get(f"{self.url}/test/calls", timeout=PATIENCE).json()
        return found

    def reset_calls(self) -> None:
        self._post("/test/forget")

    def _post(self, path: str, body: bytes = b"") -> None:
        httpx.post(self.url + path, content=body, timeout=PATIENCE).raise_for_status()

    def _replies(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self._log.read_text()
        with suppress(httpx.TransportError):
            self.calls()
            return True
        return False


@contextmanager
def running(folder: Path) -> Iterator[MotoServer]:
    server = MotoServer(folder)
    try:
        yield server.start()
    finally:
        server.stop()


def environment(login: dict[str, str] = LOGIN) -> dict[str, str]:
    """Return variables that give the SDK this login and keep it away from files and addresses of this machine."""
    files = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**files, **login, "AWS_EC2_METADATA_DISABLED": "true"}
