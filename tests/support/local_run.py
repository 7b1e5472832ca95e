"""`make run` in a clean copy of the repository: start it, read its output, and leave no process of it."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.support.ports import usual_ports
from tests.support.processes import PATIENCE, Process, until

COLUMNS = 80
PURGED = "[*] [purge] Completed purge cycle in "
CHECKED = "[*] [health] Status: HEALTHY | Queues: "
DRY_RUN = re.compile(r"\[purge\]\[dry-run\] Completed purge cycle in \d+\.\d\ds: 0 entries found, nothing changed")
MAKE = ("make", "run")
MAKE_YES = (*MAKE, "ARGS=--yes")
UP = "\nEverything is up.\n"

TAKEN = re.compile(r"Port \d+ is taken")
"""Another test may use the usual ports meanwhile."""


def environment(**more: str) -> dict[str, str]:
    """Return a user's environment without any configuration."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8", **more}


class LocalRun(Process):
    """`make run` in a copy of the repository."""

    def __init__(self, folder: Path, command: tuple[str, ...] = MAKE, **variables: str) -> None:
        log = folder / "run.log"
        super().__init__(command, folder=folder, environment=environment(**variables), log=log)

    def ready(self) -> "LocalRun":
        """Wait until the first cycles have run; on a Redis of your own, until every part is up."""
        lines = [UP] if "REDIS_URL" in self.environment else [PURGED, CHECKED]
        for line in lines:
            self.says(line)
        return self

    @property
    def redis_address(self) -> str:
        """Return the printed address, which has no password."""
        return self._printed(r"^Redis: +(\S+)$")

    @property
    def redis_url(self) -> str:
        """Return the address to connect to: that of a private server has a password, for other terminals."""
        if url := self.environment.get("REDIS_URL"):
            return url
        env = (self.folder / ".vmpooler-tasks" / "env").read_text(encoding="utf-8")
        found = re.search(r"^export REDIS_URL='?(redis://default:[^@]+@[\w.:/]+)'?$", env, re.MULTILINE)
        assert found, env
        return found[1]

    @property
    def flower_port(self) -> int:
        return int(self._printed(r"^Flower: +http://127\.0\.0\.1:(\d+)  user operator, password \S+$"))

    @property
    def flower_password(self) -> str:
        return self._printed(r"^Flower: .* password (\S+)$")

    def _printed(self, pattern: str) -> str:
        found = re.search(pattern, self.log, re.MULTILINE)
        assert found, self.log
        return found[1]

    def tree(self) -> list[psutil.Process]:
        """Return the process and all its descendants."""
        assert self.process is not None
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]


@contextmanager
def started(folder: Path, command: tuple[str, ...] = MAKE, **variables: str) -> Iterator[LocalRun]:
    """Yield the run when it is ready. Kill what is left of it at the end of the test."""
    local_run = LocalRun(folder, command, **variables)
    tree: list[psutil.Process] = []
    try:
        with usual_ports():
            local_run.start().ready()
        tree = local_run.tree()
        yield local_run
    finally:
        local_run.stop()
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def killed_at_last(tree: list[psutil.Process]) -> Iterator[None]:
    """Kill the processes of `tree` at the end of the test, also if it fails."""
    try:
        yield
    finally:
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def nothing_left_of(tree: list[psutil.Process]) -> None:
    assert len(tree) > 3, "make, the foreman, the worker, beat, Flower"
    until(
        lambda: not [p for p in tree if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], f"all of {tree} ended"
    )


def typed(local_run: LocalRun, line: str, seconds: float = PATIENCE) -> "subprocess.CompletedProcess[str]":
    """Return the result of a line in a second terminal."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd=local_run.folder,
        env=local_run.environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
