"""A scrape of the metrics against a bare pipeline of the same commands, whose replies are discarded."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hiredis

from tests.benchmarks import states
from tests.benchmarks.measure import case
from tests.benchmarks.rows import Figures, Row
from tests.benchmarks.target import Target
from tests.support import counting_proxy
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.metrics.prometheus import exposition
from vmpooler_tasks.store import Database

VMS = 10_000
POOLS = (10, 100, 1_000)
LARGE = 1_000
MAX_RATIO = 4
"""The target with so many pools."""

SCRAPES = 20
"""Scrapes in each round. As many bare pipelines follow, so that both have the same noise."""


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

    commands = _sent_commands(target, scrape)

    def bare() -> None:
        pipe = target.db.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        pipe.execute(raise_on_error=False)

    rounds = [(_seconds(lambda: scrape(target.db)), _seconds(bare)) for _ in range(runs)]
    return {
        "vms": VMS,
        "pools": pools,
        "commands": len(commands),
        "bytes": len(scrape(target.db)),
        "seconds": statistics.median(ours for ours, _ in rounds),
        "bare_seconds": statistics.median(theirs for _, theirs in rounds),
        "ratio": statistics.median(ours / theirs for ours, theirs in rounds),
    }


def _sent_commands(target: Target, scrape: Callable[[Database], object]) -> list[list[bytes]]:
    """Return the commands that a scrape sends."""
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
    """Return the median, after one call that does not count."""
    once()
    taken = []
    for _ in range(SCRAPES):
        started_at = time.perf_counter()
        once()
        taken.append(time.perf_counter() - started_at)
    return statistics.median(taken)


def rows(scrapes: Sequence[Figures]) -> Iterator[Row]:
    for one in scrapes:
        row = partial(Row, part="scrape", case=case(one), what="scrape")
        yield row(measure="commands", value=one["commands"], digits=0, counted=True)
        yield row(measure="text", value=one["bytes"] / 1024, unit=" KiB", digits=0)
        yield row(measure="ms", value=one["seconds"] * 1000)
        yield row(measure="bare ms", value=one["bare_seconds"] * 1000)
        yield row(
            measure="x bare",
            value=one["ratio"],
            unit="x",
            digits=1,
            maximum=MAX_RATIO if one["pools"] >= LARGE else None,
            at=one["pools"],
        )
