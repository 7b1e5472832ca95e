"""A scrape of the metrics against a bare pipeline of the very same commands, whose replies nobody looks at."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hiredis

from tests.benchmarks import states
from tests.benchmarks.target import Target
from tests.support import counting_proxy
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.metrics.prometheus import exposition
from vmpooler_tasks.store import Database

VMS = 10_000
POOLS = (10, 100)
SCRAPES = 50
"""In each round; as many bare pipelines follow, so that both meet the same noise."""


def measure_scrapes(target: Target, runs: int, folder: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    return [_measure(target, pools, runs, folder / f"{pools}", say) for pools in POOLS]


def _measure(target: Target, pools: int, runs: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    say(f"scrapes: {VMS} VMs in {pools} pools")
    state = states.make(VMS, pools, folder)
    state.load(target)
    settings = load_settings(file=state.config)
    health_check.run(target.db, settings, system_clock, forced=True)

    def scrape(db: Database) -> bytes:
        return exposition(db, settings, system_clock)

    asked = _asked(target, scrape)

    def bare() -> None:
        pipe = target.db.client.pipeline(transaction=False)
        for command in asked:
            pipe.execute_command(*command)
        pipe.execute(raise_on_error=False)

    rounds = [(_seconds(lambda: scrape(target.db)), _seconds(bare)) for _ in range(runs)]
    return {
        "vms": VMS,
        "pools": pools,
        "commands": len(asked),
        "bytes": len(scrape(target.db)),
        "seconds": statistics.median(ours for ours, _ in rounds),
        "bare_seconds": statistics.median(theirs for _, theirs in rounds),
        "ratio": statistics.median(ours / theirs for ours, theirs in rounds),
    }


def _asked(target: Target, scrape: Callable[[Database], object]) -> list[list[bytes]]:
    """The commands that a scrape sends, read off the line."""
    with counting_proxy.counting(target.port, target.host) as proxy:
        db = Database(f"redis://127.0.0.1:{proxy.port}/0")
        db.call("PING")  # the connection says hello first
        begin = len(proxy.sent)
        scrape(db)
        db.close()
        reader = hiredis.Reader()
        reader.feed(bytes(proxy.sent[begin:]))
    return list(iter(reader.gets, False))


def _seconds(once: Callable[[], object]) -> float:
    """The median, after one that is not timed."""
    once()
    taken = []
    for _ in range(SCRAPES):
        begun = time.perf_counter()
        once()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)
