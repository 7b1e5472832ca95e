"""Run the measurements, and reduce them to figures. Ratios are of one round, medians of all rounds."""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks import dead_letters, states
from tests.benchmarks.processes import Pinger, pinging, ready_worker, run_floor, run_job, time_command
from tests.benchmarks.states import State
from tests.benchmarks.target import Target

CYCLES = ("dry_run", "health", "purge")
"""In this order: the purge changes what the others read."""

IDLE_SECONDS = 1.0
MIB = 1024 * 1024

Figures = dict[str, Any]


@dataclass(slots=True)
class Runs:
    """The measurements of one cycle."""

    timed: list[Figures] = field(default_factory=list)
    watched: list[Figures] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)


def measure_state(target: Target, vms: int, pools: int, runs: int, folder: Path, say: Callable[[str], None]) -> Figures:
    """Measure the cycles at one size: `runs` rounds, each on a newly loaded state."""
    state = states.make(vms, pools, folder)
    floors: list[Figures] = []
    seen = {cycle: Runs() for cycle in CYCLES}
    idle: list[float] = []
    with pinging(target) as pinger:
        for number in range(runs):
            say(f"{vms} VMs in {pools} pools: round {number + 1} of {runs}")
            floors.append(_timed_round(target, state, seen))
            idle += _watched_round(target, state, seen, pinger)
    return {
        "vms": vms,
        "pools": pools,
        "floor": {name: _median(floors, name) for name in ("seconds", "commands", "redis_cpu_seconds")},
        "cycles": {cycle: _figures(seen[cycle]) for cycle in CYCLES},
        "idle": {"ping_ms": _latencies(idle)},
    }


def measure_dead_letters(target: Target, runs: int, folder: Path, say: Callable[[str], None]) -> Figures:
    state = states.make(10, 1, folder)
    say("dead letters: pushing")
    target.empty()
    pushed = [run_job(target, "push", state.now, state.config) for _ in range(runs)]
    say(f"dead letters: listing {dead_letters.LISTED}")
    target.empty()
    dead_letters.fill(target.db, state.now)
    pages = [run_job(target, "page", state.now, state.config) for _ in range(runs)]
    commands = [
        time_command(target, state.config, "dlq", "list", "--limit", str(dead_letters.LISTED), "--json")
        for _ in range(runs)
    ]
    return {
        "requests_per_push": pushed[0]["requests_per_push"],
        "pushes_per_second": _median(pushed, "pushes_per_second"),
        "zadds_per_second": _median(pushed, "zadds_per_second"),
        "push_ratio": statistics.median(run["zadds_per_second"] / run["pushes_per_second"] for run in pushed),
        "list": {
            "entries": min(pages[0]["entries"], len(commands[0][1]["entries"])),
            "page_seconds": _median(pages, "page_seconds"),
            "command_seconds": statistics.median(seconds for seconds, _ in commands),
        },
    }


def _timed_round(target: Target, state: State, seen: dict[str, Runs]) -> Figures:
    """Measure without another client: the floor before each cycle, and the ratio of the cycle to it."""
    state.load(target)
    floors, cycles = list[Figures](), dict[str, Figures]()
    for cycle in CYCLES:
        floors.append(run_floor(target))
        cycles[cycle] = _run(target, state, cycle)
    floor = {name: _median(floors, name) for name in ("seconds", "commands", "redis_cpu_seconds")}
    for cycle, figures in cycles.items():
        seen[cycle].timed.append({**figures, "floor_ratio": figures["seconds"] / floor["seconds"]})
    return floor


def _watched_round(target: Target, state: State, seen: dict[str, Runs], pinger: Pinger) -> list[float]:
    """Measure while another client sends PINGs. Return the latencies without any cycle."""
    state.load(target)
    idle = pinger.idle(IDLE_SECONDS)
    for cycle in CYCLES:
        with ready_worker(target, cycle, state.now, state.config) as worker:
            pinger.start()
            seen[cycle].watched.append(json.loads(worker.request("go")))
            seen[cycle].pings += pinger.stop()
    return idle


def _run(target: Target, state: State, cycle: str) -> Figures:
    with ready_worker(target, cycle, state.now, state.config) as worker:
        target.reset()
        result = json.loads(worker.request("go"))
        usage = target.usage()
    return {
        **result,
        "commands": usage.commands,
        "scripts": usage.scripts,
        "redis_cpu_seconds": usage.cpu_seconds,
    }


def _figures(runs: Runs) -> Figures:
    growth = max(run["memory_growth_bytes"] for run in (*runs.timed, *runs.watched))
    ratios = [run["floor_ratio"] for run in runs.timed]
    return {
        **{name: _median(runs.timed, name) for name in ("seconds", "commands", "scripts", "redis_cpu_seconds")},
        "floor_ratio": statistics.median(ratios),
        "floor_ratios": ratios,
        "memory_growth_mib": growth / MIB,
        "found": runs.timed[0]["found"],
        "errors": runs.timed[0]["errors"],
        "ping_ms": _latencies(runs.pings),
    }


def _median(figures: Sequence[Figures], name: str) -> float:
    return statistics.median(float(one[name]) for one in figures)


def _latencies(pings: Sequence[float]) -> Figures:
    """Of the PINGs sent. `p99_unsent` counts those as well that were not sent because one was waited for: one for each
    millisecond of the wait, each with what would have been left of it.
    """
    unsent = [ping - missed for ping in pings for missed in range(1, math.ceil(ping))]
    return {
        "count": len(pings),
        "p50": _percentile(pings, 50),
        "p99": _percentile(pings, 99),
        "max": max(pings),
        "p99_unsent": _percentile([*pings, *unsent], 99),
    }


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]
