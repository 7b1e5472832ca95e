"""`make run` in a clean copy of the repository, and a second terminal there, as a newcomer has them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import clean_copy
from tests.support.ports import usual_ports
from tests.support.processes import Process, until
from tests.support.servers import required

START = "make run"
SETUP_SECONDS = 600.0
"""For pip, where CI_FULL has the virtual environment set up as well."""


class OpenShell:
    """A terminal that stays open: what one command exports, the next one sees."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment,
            text=True,
            encoding="utf-8",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def type(self, command: str) -> tuple[int, str]:
        """(exit status, what appeared)."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {command}\n}} < /dev/null; printf '\\n--done--%s\\n' $?\n")
        self._bash.stdin.flush()
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.startswith("--done--"):
                return int(line.removeprefix("--done--")), "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended in {command!r}: {''.join(lines)}")

    def close(self) -> None:
        self._bash.kill()
        self._bash.communicate()


@dataclass(frozen=True, slots=True)
class FirstMinutes:
    """`make run` on a clean copy, and a second terminal there in which nothing was typed yet."""

    make: Process
    shell: OpenShell

    def start(self) -> None:
        """Start, and wait until the first cycles have run."""
        with usual_ports():
            self.make.start()
            set_up = lambda: "Ctrl-C stops" in self.make.log or not self.make.running  # noqa: E731
            until(set_up, "make run has set itself up", SETUP_SECONDS)
            self.make.says("[*] [web] Serving").says("[*] [purge]")
            self.make.says("cloned in")  # the watch for another pool manager is over


@contextmanager
def newcomers_folder(folder: Path) -> Iterator[FirstMinutes]:
    """Yield `make run` in a copy of the repository; it is started by the block and stopped at its end."""
    for tool in ("redis-cli", "jq", "bash"):
        required(tool)
    clean_copy(folder, ready=not os.environ.get("CI_FULL"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    make = Process(START.split(), folder=folder, environment=environment, log=folder / "log")
    shell = OpenShell(folder, environment)
    try:
        yield FirstMinutes(make, shell)
    finally:
        shell.close()
        make.stop()
