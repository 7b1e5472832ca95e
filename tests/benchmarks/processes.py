"""The processes beside the server: a worker for one job, another client, the floor."""

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
"""Variables of the environment that a process gets. Any other may be an option of VMPooler."""


class WorkerEndedError(Exception):
    """A process ended before its response; the note is the end of its log."""


class Process:
    """A process that reads and writes lines. Its stderr goes to `log`."""

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

    def request(self, line: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.read_line()

    def read_line(self) -> str:
        assert self._process.stdout
        said = self._process.stdout.readline()
        if not said:
            raise WorkerEndedError(f"{self._process.args!r} ended with status {self._process.wait()}")
        return said.strip()

    def close(self) -> None:
        """Close its stdin, which ends it, and wait for its end."""
        self._process.communicate()


class Pinger:
    """Another client, which measures how long it waits for the server."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def start(self) -> None:
        self._process.request("start")

    def stop(self) -> list[float]:
        """Return the milliseconds of each PING since `start`."""
        latencies: list[float] = json.loads(self._process.request("stop"))
        return latencies

    def idle(self, seconds: float) -> list[float]:
        """Measure without another client: the noise of this machine."""
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
    """Yield a worker that is ready for the job. Its log goes to a file, as that of a service."""
    env = {"REDIS_URL": target.url, "VMPOOLER_CONFIG_FILE": str(config)}
    with config.with_name("worker.log").open("w+", encoding="utf-8") as log:
        process = Process(log, "tests.benchmarks.worker", job, repr(now), env=env)
        try:
            process.read_line()
            yield process
        except WorkerEndedError as error:
            log.seek(0)
            error.add_note(log.read()[-4000:])
            raise
        finally:
            process.close()


def run_job(target: Target, job: str, now: float, config: Path) -> dict[str, Any]:
    with ready_worker(target, job, now, config) as worker:
        result: dict[str, Any] = json.loads(worker.request("go"))
        return result


def run_floor(target: Target) -> dict[str, Any]:
    """Run the floor once, and return {vms, seconds, commands, redis_cpu_seconds}."""
    done = subprocess.run(
        [sys.executable, str(FLOOR), "--url", target.url, "--runs", "1"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def time_command(target: Target, config: Path, *words: str) -> tuple[float, Any]:
    """Run a `vmpooler-tasks` command, and return (seconds from start to end of the program, its JSON)."""
    env = {**environment(), "REDIS_URL": target.url, "VMPOOLER_CONFIG_FILE": str(config)}
    program = Path(sys.executable).with_name("vmpooler-tasks")
    started_at = time.perf_counter()
    done = subprocess.run([program, *words], cwd=ROOT, env=env, capture_output=True, check=True)
    return time.perf_counter() - started_at, json.loads(done.stdout)


def environment() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ}
