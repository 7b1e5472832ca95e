"""Run the measurements, and reduce them to figures. Ratios are of one round, medians of all rounds."""

import json
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.benchmarks import dead_letters, states
from tests.benchmarks.processes import Pinger, pinging, ready_worker, run_floor, run_job, time_command
from tests.benchmarks.rows import Figures, Row
from tests.benchmarks.states import State
from tests.benchmarks.target import Target

CYCLES = ("dry_run", "health", "purge")
"""In this order: the purge changes what the others read."""

IDLE_SECONDS = 1.0
MIB = 1024 * 1024

NAMES = {"purge": "purge", "dry_run": "purge, dry run", "health": "health check"}
PINGS = {"p50": "50 %", "p99": "99 %", "max": "maximum", "p99_unsent": "99 %, unsent too"}

LARGE = 100_000
"""The targets hold for states with at least so many VMs."""

PLOTTED_POOLS = 10
FLOOR_RATIO = {"purge": 1.5, "health check": 1.2}
MEMORY_MIB = 30
PING_P99, PING_MAX = 5, 25


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


def cycle_rows(states: Sequence[Figures]) -> Iterator[Row]:
    """Yield the rows of the cycles; then those of the PINGs."""
    for state in states:
        yield from _floor_rows(state)
        for cycle, name in NAMES.items():
            yield from _rows_of_cycle(state, name, state["cycles"][cycle])


def _floor_rows(state: Figures) -> Iterator[Row]:
    row = partial(Row, part="cycles", case=case(state), what="floor")
    floor, idle = state["floor"], state["idle"]["ping_ms"]
    yield row(measure="seconds", value=floor["seconds"], digits=3)
    yield row(measure="x floor", value=1, unit="x")
    yield row(measure="commands", value=floor["commands"], digits=0, counted=True)
    yield row(measure="Redis CPU s", value=floor["redis_cpu_seconds"], digits=3)
    yield from _ping_rows(partial(row, part="pings", what="nothing else"), idle, large=False)


def _rows_of_cycle(state: Figures, name: str, figures: Figures) -> Iterator[Row]:
    large = state["vms"] >= LARGE
    row = partial(Row, part="cycles", case=case(state), what=name)
    at = state["vms"] if state["pools"] == PLOTTED_POOLS else None
    target = FLOOR_RATIO.get(name) if large else None
    yield row(measure="seconds", value=figures["seconds"], digits=3)
    yield row(measure="x floor", value=figures["floor_ratio"], unit="x", maximum=target, at=at)
    yield row(measure="commands", value=figures["commands"], digits=0, counted=True)
    yield row(measure="scripts", value=figures["scripts"], digits=0, counted=True)
    yield row(measure="Redis CPU s", value=figures["redis_cpu_seconds"], digits=3)
    growth = figures["memory_growth_mib"]
    yield row(measure="memory growth", value=growth, unit=" MiB", digits=1, maximum=MEMORY_MIB if large else None)
    yield from _ping_rows(partial(row, part="pings", at=at), figures["ping_ms"], large=large)


def _ping_rows(row: Callable[..., Row], pings: Figures, *, large: bool) -> Iterator[Row]:
    limits = {"p99": PING_P99, "max": PING_MAX} if large else {}
    for name, measure in PINGS.items():
        yield row(measure=measure, value=pings[name], unit=" ms", maximum=limits.get(name))


def case(state: Figures) -> str:
    """Return the words for a state: its VMs and pools."""
    pools = state["pools"]
    return f"{state['vms']:,} VMs in {pools:,} {'pool' if pools == 1 else 'pools'}"


def dead_letter_rows(figures: Figures) -> Iterator[Row]:
    requests, listed = figures["requests_per_push"], figures["list"]
    row = partial(Row, part="dead letters", case="", measure="measured")
    names = ", ".join(f"{count:g} {name}" for name, count in requests.items())
    sent = sum(requests.values())
    yield row(what="requests for one push", value=sent, digits=0, maximum=1, note=names, counted=True)
    yield row(what="pushes, one by one", value=figures["pushes_per_second"], unit="/s", digits=0)
    yield row(what="plain ZADDs, one by one", value=figures["zadds_per_second"], unit="/s", digits=0)
    yield row(what="a push, in plain ZADDs", value=figures["push_ratio"], digits=1)
    for name, how in (("page_seconds", "in a process that runs"), ("command_seconds", "as a command, with its start")):
        yield row(what=f"list of {listed['entries']:,}, {how}", value=listed[name], unit=" s", maximum=1)
