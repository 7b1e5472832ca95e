"""`vmpooler-tasks` as an operator types it: into a pipe, or at a terminal."""

import fcntl
import io
import json
import logging
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import pytest
from kombu import pools

from tests.support.processes import PATIENCE, ROOT
from tests.support.servers import required
from tests.support.world import World
from vmpooler_tasks.cli import cli, main
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys

PROGRAM = Path(sys.executable).parent / "vmpooler-tasks"


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    out: str
    err: str


class CommandLine:
    """Runs commands in `folder` with exactly this environment."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def __call__(self, *arguments: str, typed: str = "", **environment: str) -> Result:
        """Run the command in the tests' own process, which is ten times as fast as a process of its own.

        `typed` is what stdin says; `environment` is added to the usual one. What the command does to the process (its
        environment, folder, streams, log and hooks) is undone.
        """
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, {**self.environment, **environment}, clear=True))
            stack.enter_context(chdir(self.folder))
            stack.enter_context(_log_restored())
            out, err = (stack.enter_context(_captured(name)) for name in ("stdout", "stderr"))
            stdin = io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="utf-8")
            stack.enter_context(patch.object(sys, "stdin", stdin))
            stack.enter_context(patch.object(sys, "argv", [PROGRAM.name, *arguments]))
            stack.callback(pools.reset)  # or the next command would find this one's connections to the broker open
            # click names the program after what runs it, which is pytest here.
            stack.enter_context(patch.object(sys.modules["__main__"], "__package__", None))
            with pytest.raises(SystemExit) as end:
                main()
            return Result(int(end.value.code or 0), out(), err())

    def process(self, *arguments: str, typed: str = "", **environment: str) -> Result:
        """Run the installed command in a process of its own, for its exit status and its streams."""
        done = subprocess.run(
            [str(PROGRAM), *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            input=typed,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str, status: int = 0, **environment: str) -> Any:
        """Return what `--json` printed. Fail if the command printed anything else."""
        result = self(*arguments, "--json", **environment)
        assert (result.status, result.err) == (status, ""), result
        return json.loads(result.out)

    @contextmanager
    def started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """Yield the running command, with its output in a pipe."""
        with subprocess.Popen(
            [str(PROGRAM), *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def on_terminal(self, *arguments: str, columns: int = 100) -> Result:
        """Run the command at a terminal of this width. `out` has its output and its errors."""
        with terminal(columns) as (ours, theirs):
            process = subprocess.Popen(
                [str(PROGRAM), *arguments],
                cwd=self.folder,
                env={**self.environment, "TERM": "xterm-256color"},
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
            )
            os.close(theirs)
            shown = b"".join(reading(ours))
            return Result(process.wait(PATIENCE), shown.decode("utf-8"), "")


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that does something by itself, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield (*path, name), command
            yield from commands(command, (*path, name))
        else:
            yield path if command.hidden else (*path, name), command  # hidden: what the group does by itself


@contextmanager
def _captured(name: str) -> Iterator[Callable[[], str]]:
    """Replace `sys.stdout` or `sys.stderr` by a file with a descriptor of its own, and yield a reader of its text."""
    with tempfile.TemporaryFile() as file, os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8") as stream:

        def read() -> str:
            stream.flush()
            file.seek(0)
            return file.read().decode("utf-8")

        with patch.object(sys, name, stream):
            yield read


@contextmanager
def _log_restored() -> Iterator[None]:
    """Undo what a command does to logging, warnings and the hooks of uncaught exceptions."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with (
        patch.object(sys, "excepthook", sys.excepthook),
        patch.object(sys, "unraisablehook", sys.unraisablehook),
        patch.object(threading, "excepthook", threading.excepthook),
    ):
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.handlers[:] = handlers
            root.setLevel(level)


@contextmanager
def terminal(columns: int = 100) -> Iterator[tuple[int, int]]:
    """Yield both ends of a terminal: ours, and that of the program, which the caller closes."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def reading(ours: int) -> Iterator[bytes]:
    """Yield the output of the terminal until the last program that has it open ends."""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # on Linux: the other end is closed
            return
        if not piece:
            return
        yield piece


def clean_copy(folder: Path, *, ready: bool = True) -> Path:
    """Copy the repository with uncommitted changes; with `ready`, also a virtual environment. Return its folder."""
    listed = subprocess.run(
        [required("git"), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
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


def dead_letter(world: World, queue: str, age: float, *, old_form: bool = False, **fields: Any) -> None:
    """Add a dead letter of this age (seconds), in this project's form or in VMPooler's."""
    epoch = int(world.now - age)
    entry = {"queue_from": queue, "failed_at": f"{epoch}", "retry_count": 0, **fields}
    text = json.dumps(entry, ensure_ascii=False)
    world.client.zadd(
        keys.dead_letters(DeadLetterQueue(queue)), {f"{fields['vm']}:{epoch}:{text}" if old_form else text: epoch}
    )
