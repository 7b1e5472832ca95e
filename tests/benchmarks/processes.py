"""The processes that take part beside the server: a worker for one job, another client, the floor."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.benchmarks.target import Target

ROOT = Path(__file__).parents[2]
FLOOR = ROOT / "tests" / "reference" / "floor.py"
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
"""Of the environment; anything else might be an option of VMPooler's."""


class WorkerEndedError(Exception):
    """A process ended before it had answered; the note is the end of its log."""


class Process:
    """One that is talked to line by line; what it says on stderr goes to `log`."""

    def __init__(self, log: IO[str] | None, module: str, *words: str, env: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=ROOT,
            env={**environment(), **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def ask(self, line: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> str:
        assert self._process.stdout
        said = self._process.stdout.readline()
        if not said:
            raise WorkerEndedError(f"{self._process.args!r} ended with status {self._process.wait()}")
        return said.strip()

    def close(self) -> None:
        """Closes its stdin, which ends it, and waits."""
        self._process.communicate()


class Pinger:
    """Another client, which measures how long the server lets it wait."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def start(self) -> None:
        self._process.ask("start")

    def stop(self) -> list[float]:
        """Milliseconds, one for each PING since `start`."""
        latencies: list[float] = json.loads(self._process.ask("stop"))
        return latencies

    def idle(self, seconds: float) -> list[float]:
        """With nobody else on the server: this machine's own noise."""
        self.start()
        time.sleep(seconds)
        return self.stop()


@contextmanager
def pinging(target: Target) -> Iterator[Pinger]:
    process = Process(None, "tests.benchmarks.pinger", target.host, str(target.port))
    try:
        yield Pinger(process)
    finally:
        process.close()


@contextmanager
def ready_worker(target: Target, job: str, now: float, config: Path) -> Iterator[Process]:
    """A worker that has only the job still before it. Its log is written to a file, as a service's is."""
    env = {"REDIS_URL": target.url, "VMPOOLER_CONFIG_FILE": str(config)}
    with config.with_name("worker.log").open("w+", encoding="utf-8") as log:
        process = Process(log, "tests.benchmarks.worker", job, repr(now), env=env)
        try:
            process.hear()
            yield process
        except WorkerEndedError as error:
            log.seek(0)
            error.add_note(log.read()[-4000:])
            raise
        finally:
            process.close()


def run_job(target: Target, job: str, now: float, config: Path) -> dict[str, Any]:
    with ready_worker(target, job, now, config) as worker:
        answer: dict[str, Any] = json.loads(worker.ask("go"))
        return answer


def run_floor(target: Target) -> dict[str, Any]:
    """One pass of the floor: {vms, seconds, commands, redis_cpu_seconds}."""
    done = subprocess.run(
        [sys.executable, str(FLOOR), "--url", target.url, "--runs", "1"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def time_command(target: Target, config: Path, *words: str) -> tuple[float, Any]:
    """(seconds from the start of the program to its end, the JSON it printed) of a `vmpooler-tasks` command."""
    env = {**environment(), "REDIS_URL": target.url, "VMPOOLER_CONFIG_FILE": str(config)}
    program = Path(sys.executable).with_name("vmpooler-tasks")
    begun = time.perf_counter()
    done = subprocess.run([program, *words], cwd=ROOT, env=env, capture_output=True, check=True)
    return time.perf_counter() - begun, json.loads(done.stdout)


def environment() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ}
