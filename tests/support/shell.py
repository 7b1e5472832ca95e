"""An operator's shell, in which `redis-cli` finds the test's own server at the usual port, as in the guide."""

import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic

import pytest

from tests.support.processes import PATIENCE, Installation
from tests.support.servers import required


class Shell:
    """A shell in the installation's folder, where its logs are, with its environment."""

    def __init__(self, installation: Installation, port: int) -> None:
        shim = installation.folder / "bin" / "redis-cli"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {required("redis-cli")} -p {port} "$@"\n')
        shim.chmod(0o755)
        self.folder, self._bash = installation.folder, required("bash")
        path = os.pathsep.join((str(shim.parent), installation.environment["PATH"]))
        self.environment = {**installation.environment, "PATH": path, "LC_ALL": "C.UTF-8"}

    def type(self, command: str) -> str:
        """Run a command, and return its output. Fail if it fails or writes to stderr."""
        done = subprocess.run(
            [self._bash, "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def watch(self, command: str) -> AbstractContextManager["Screen"]:
        """Run a command that does not end by itself, and end its whole pipeline as Ctrl-C does."""
        return watched(command, self.folder, self.environment)


@contextmanager
def watched(command: str, folder: Path, environment: Mapping[str, str]) -> Iterator["Screen"]:
    """Run a command in a folder that does not end by itself, and end its whole pipeline as Ctrl-C does."""
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        [required("bash"), "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        try:
            yield Screen(screen)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            os.close(screen)


class Screen:
    """The output of a command on a terminal, where `grep` passes on each line at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._shown = ""

    def until(self, text: str) -> list[str]:
        """Return the lines up to the first that contains this text."""
        deadline = monotonic() + PATIENCE
        while text not in self._shown.rpartition("\n")[0]:
            if monotonic() > deadline:
                pytest.fail(f"no {text!r} within {PATIENCE:g} s in {self._shown!r}")
            if select.select([self._descriptor], [], [], 0.2)[0]:
                self._shown += os.read(self._descriptor, 4096).decode()
        return self._shown.splitlines()
