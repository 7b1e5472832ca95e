"""`vmpooler-tasks` as an operator types it: into a pipe, or at a terminal."""

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import PATIENCE, ROOT
from tests.support.servers import required
from tests.support.world import World
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys

PROGRAM = Path(sys.executable).parent / "vmpooler-tasks"


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    out: str
    err: str


class CommandLine:
    """Runs the installed command in `folder`, with this environment and no other."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def __call__(self, *arguments: str, typed: str = "", **environment: str) -> Result:
        """`typed` is what stdin says; `environment` stands above the usual one."""
        done = subprocess.run(
            [str(PROGRAM), *arguments], cwd=self.folder, env={**self.environment, **environment}, input=typed,
            capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE, check=False,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str, status: int = 0, **environment: str) -> Any:
        """What `--json` printed; nothing else may be said."""
        result = self(*arguments, "--json", **environment)
        assert (result.status, result.err) == (status, ""), result
        return json.loads(result.out)

    @contextmanager
    def started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """The command while it runs, with its output in a pipe."""
        with subprocess.Popen(
            [str(PROGRAM), *arguments], cwd=self.folder, env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    def on_terminal(self, *arguments: str, columns: int = 100) -> Result:
        """The same at a terminal of that width; what it shows is in `out`, errors included."""
        with terminal(columns) as (ours, theirs):
            process = subprocess.Popen(
                [str(PROGRAM), *arguments], cwd=self.folder, env={**self.environment, "TERM": "xterm-256color"},
                stdin=theirs, stdout=theirs, stderr=theirs,
            )  # fmt: skip
            os.close(theirs)
            shown = b"".join(reading(ours))
            return Result(process.wait(PATIENCE), shown.decode("utf-8"), "")


@contextmanager
def terminal(columns: int = 100) -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: ours, and the one that a program takes for its screen and keyboard (ours to close)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def reading(ours: int) -> Iterator[bytes]:
    """What appears on the terminal, until the last program that has it open ends."""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # so Linux says that the other end is closed
            return
        if not piece:
            return
        yield piece


def clean_copy(folder: Path, *, ready: bool = True) -> Path:
    """What a clone would hold, with the changes not committed yet; if `ready`, with the virtual environment set up."""
    listed = subprocess.run(
        [required("git"), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    if ready:
        stamp = Path(sys.prefix) / ".ready"
        assert stamp.exists(), "`make setup` comes first"
        (folder / ".venv").symlink_to(sys.prefix)
        for name in ("pyproject.toml", "constraints.txt"):  # or make would set the environment up again
            os.utime(folder / name, (0, 0))
    return folder


def letter(world: World, queue: str, age: float, *, old_form: bool = False, **fields: Any) -> None:
    """A dead letter of this age, in this project's form or VMPooler's."""
    epoch = int(world.now - age)
    entry = {"queue_from": queue, "failed_at": f"{epoch}", "retry_count": 0, **fields}
    text = json.dumps(entry, ensure_ascii=False)
    world.client.zadd(
        keys.dead_letters(DeadLetterQueue(queue)), {f"{fields['vm']}:{epoch}:{text}" if old_form else text: epoch}
    )
