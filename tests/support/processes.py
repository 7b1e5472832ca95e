"""Real `celery` and `vmpooler-tasks` processes, started as an operator starts them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self, TypeVar

import pytest

from tests.support.world import POOL

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0
"""Seconds until a condition counts as missed: a machine that runs other tests as well may be slow."""

T = TypeVar("T")


def until(
    condition: Callable[[], T], what: str | Callable[[], str], seconds: float = PATIENCE, pause: float = 0.03
) -> T:
    """Return the result of `condition` as soon as it is true. Fail if that takes more than `seconds`."""
    deadline = monotonic() + seconds
    while not (found := condition()):
        if monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        sleep(pause)
    return found


def configuration(*pools: str, **options: Any) -> str:
    """Return a configuration for VMPOOLER_CONFIG, with every feature on and these options of `:config:`."""
    on = {"dlq_enabled": True, "purge_enabled": True, "health_check_enabled": True}
    named = [{"name": pool} for pool in pools or (POOL,)]
    return json.dumps({":config": {**on, **options}, ":pools": named})


class Process:
    """A process with its log. It has its own process group, so that it can be killed with all its children."""

    def __init__(self, command: Sequence[str], *, folder: Path, environment: dict[str, str], log: Path) -> None:
        self.command, self.folder, self.environment, self.log_file = list(command), folder, environment, log
        self._begin = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log_file.open("ab") as log:
            self._begin = log.tell()
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    @property
    def log(self) -> str:
        """Return its output since its start."""
        return self.log_file.read_bytes()[self._begin :].decode("utf-8", "replace")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def says(self, text: str, times: int = 1) -> Self:
        """Wait until its output contains this text so many times."""

        def said() -> bool:
            running = self.running
            enough = self.log.count(text) >= times
            if not enough and not running:
                pytest.fail(f"it ended without saying {text!r}:\n{self.log[-4000:]}")
            return enough

        until(said, lambda: f"it says {text!r} {times} times; it said:\n{self.log[-4000:]}")
        return self

    def kill(self) -> None:
        """Kill it and its children at once, as a power failure does."""
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Send SIGTERM and wait for its end, as a service manager does."""
        if self.process and self.running:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        self.kill()

    def exit_status(self) -> int:
        """Wait for its end, and return its exit status."""
        assert self.process is not None
        return self.process.wait(PATIENCE)


class Installation:
    """The processes of one installation: they share a server and a configuration.

    `folder` takes their logs. They are started in the repository's root, where `celeryconfig.py` lies, unless told
    otherwise; of this process's environment they see nothing that could configure them.
    """

    def __init__(self, url: str, folder: Path, config: str | None = None, start_in: Path = ROOT) -> None:
        self.folder, self.start_in = folder, start_in
        self.programs = Path(sys.executable).parent
        self.environment = {
            **{name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ},
            "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "REDIS_URL": url,
            "VMPOOLER_CONFIG": config or configuration(),
        }
        self._processes: list[Process] = []

    def configure(self, *pools: str, **options: Any) -> None:
        """Change the configuration of the processes that are started from now on."""
        self.environment["VMPOOLER_CONFIG"] = configuration(*pools, **options)

    def deploy(self, settings: str = "") -> Path:
        """Start from now on in a folder that holds our `celeryconfig.py`, with these lines more."""
        self.start_in = self._configured("deployment", settings)
        return self.start_in

    def _configured(self, name: str, settings: str) -> Path:
        """Return a folder that holds the `celeryconfig.py` so far, with these lines more: a deployment tunes Celery."""
        folder = self.folder / f"celeryconfig-{name}"
        folder.mkdir(exist_ok=True)
        base = self.start_in if (self.start_in / "celeryconfig.py").exists() else ROOT
        text = (base / "celeryconfig.py").read_text(encoding="utf-8")
        (folder / "celeryconfig.py").write_text(f"{text}\n{settings}\n", encoding="utf-8")
        return folder

    def celery(
        self, *arguments: str, name: str, app: Sequence[str] = ("-A", "vmpooler_tasks"), **settings: Any
    ) -> Process:
        """Return a `celery` process that stays, not started yet. `settings` stand in its `celeryconfig.py`."""
        command = [str(self.programs / "celery"), *app, *arguments]
        lines = "\n".join(f"{setting} = {value!r}" for setting, value in settings.items())
        folder = self._configured(name, lines) if settings else self.start_in
        process = Process(command, folder=folder, environment=dict(self.environment), log=self.folder / f"{name}.log")
        self._processes.append(process)
        return process

    def keep(self, process: Process) -> None:
        """Stop it with the installation."""
        self._processes.append(process)

    def worker(self, *options: str, name: str = "worker", tasks: str = "", **settings: Any) -> Process:
        """Start a worker with the command line of the documentation, and return it when it is ready.

        `options` are those that the documentation names (-P, -Q, --log-format). `tasks` is a module of further tasks.
        Whatever else a test needs is a setting of Celery's, as a deployment has it: one task at a time, for a start.
        """
        settings = {"worker_concurrency": 1, **settings}
        if tasks:
            settings["include"] = [tasks]
            self.environment["PYTHONPATH"] = str(ROOT)
        arguments = ("worker", "--loglevel", "INFO", "-n", f"{name}@%h", *options)
        return self.celery(*arguments, name=name, **settings).start().says(" ready.")

    def start_literally(self, words: Sequence[str], name: str) -> Process:
        """Start a process with exactly this command line, as a deployment does."""
        command = [str(self.programs / words[0]), *words[1:]]
        log = self.folder / f"{name}.log"
        process = Process(command, folder=self.start_in, environment=dict(self.environment), log=log)
        self.keep(process)
        return process.start()

    def beat(self, *options: str, name: str = "beat", **settings: Any) -> Process:
        """Start a beat, and return it when it has started."""
        arguments = ("beat", "--loglevel", "INFO", *options)
        return self.celery(*arguments, name=name, **settings).start().says("beat: Starting...")

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command, and return its stdout. Fail if its exit status is another."""
        done = subprocess.run(
            [str(self.programs / command[0]), *command[1:]],
            cwd=self.start_in,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def call(self, task: str, **kwargs: Any) -> str:
        """Send a task with `celery call`, and return its id."""
        return self.run("celery", "-A", "vmpooler_tasks", "call", task, "--kwargs", json.dumps(kwargs)).strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:  # at once: a warm stop takes a worker two seconds
            process.kill()
