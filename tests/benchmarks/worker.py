"""Run one job in a new process that is set up as a worker: imports, settings, connection, log at INFO on stderr.

  python -m tests.benchmarks.worker JOB NOW

Writes `ready` when it is set up, waits for a line on stdin, does the job, and writes its result as one line of JSON.
The configuration and the server come from the environment, as for a worker.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks import dead_letters
from tests.benchmarks.peak_memory import peak_bytes, reset_peak
from tests.simulation import jobs as simulation
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.purge import cycle as purge_cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.tasks.celery.app import app
from vmpooler_tasks.tasks.process import database, settings

JobResult = dict[str, Any]


def _purge(now: float, *, dry_run: bool) -> JobResult:
    options = PurgeOptions(dry_run=dry_run, who="benchmark")
    report = purge_cycle.run(database(), settings(), lambda: now, options)
    return {"found": report.total, "errors": report.error_count}


def _health(now: float) -> JobResult:
    report = health_check.run(database(), settings(), lambda: now, forced=True)
    return {} if report is None else {"found": report.as_json()["orphaned_metadata_count"], "errors": 0}


JOBS: dict[str, Callable[[float], JobResult]] = {
    "purge": lambda now: _purge(now, dry_run=False),
    "dry_run": lambda now: _purge(now, dry_run=True),
    "health": _health,
    "push": dead_letters.push,
    "page": dead_letters.page,
    **simulation.JOBS,
}


def main() -> None:
    job, now = sys.argv[1:]
    app.log.setup(loglevel="INFO", redirect_stdouts=False)
    app.loader.import_default_modules()
    settings()
    database().call("PING")
    if job in simulation.PREPARATIONS:
        simulation.PREPARATIONS[job]()
    _print_line("ready")
    sys.stdin.readline()
    reset_peak()
    before, started_at, cpu = peak_bytes(), time.perf_counter(), time.process_time()
    result = JOBS[job](float(now))
    times = {"seconds": time.perf_counter() - started_at, "cpu_seconds": time.process_time() - cpu}
    peak = peak_bytes()
    _print_line(json.dumps({**result, **times, "memory_growth_bytes": peak - before, "memory_bytes": peak}))


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
