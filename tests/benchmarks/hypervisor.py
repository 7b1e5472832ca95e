"""Providers on simulators of their APIs: the calls of a VM, a large inventory, and many clones at once."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks import clones
from tests.benchmarks.measure import MIB
from tests.benchmarks.peak_memory import peak_bytes, reset_peak
from tests.benchmarks.rows import Figures, Row
from tests.benchmarks.simulators import INSTALLATION, LARGE, SIMULATORS, Simulator
from tests.benchmarks.target import Target
from vmpooler_tasks.providers import Provider, ProviderContext, registry

CLONES_COUNTED = 10


class Scale(NamedTuple):
    """The sizes of the measurements. A clone of those in flight gets its address after `seconds`."""

    inventory: int = 2500
    in_flight: int = 100
    seconds: float = 5.0


def measure_hypervisors(target: Target, scale: Scale, folder: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    found = []
    for start in SIMULATORS:
        own = folder / start.__name__
        own.mkdir(parents=True, exist_ok=True)
        say(f"providers: starting the simulator of {start.__name__}; the first start of vSphere's compiles it")
        with start(own) as simulator:
            found.append({"title": simulator.title, **_measure(target, simulator, scale, own, say)})
    return found


def _measure(
    target: Target, simulator: Simulator, scale: Scale, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    context = ProviderContext(name=simulator.name, options=simulator.options, redis_url="", installation=INSTALLATION)
    with closing(registry.load(context)) as provider:
        say(f"{simulator.title}: the API calls of a clone and its end")
        calls = _calls_of_a_clone(simulator, provider)
        say(f"{simulator.title}: the inventory of {scale.inventory} VMs")
        inventory = _inventory(simulator, provider, scale.inventory)
    say(f"{simulator.title}: {scale.in_flight} clones of {scale.seconds:g} s in flight at once")
    return {"calls": calls, "inventory": inventory, "in_flight": _in_flight(target, simulator, scale, folder)}


def _calls_of_a_clone(simulator: Simulator, provider: Provider) -> dict[str, Mapping[str, float]]:
    """Return the calls of one VM by method, for each step. The first VM, which logs in, is left out."""
    pool = simulator.spec(clones.POOL)
    steps: dict[str, Callable[[str], object]] = {
        "create_vm": lambda vm: provider.create_vm(pool, vm),
        "is_ready": lambda vm: provider.is_ready(pool, vm),
        "destroy_vm": lambda vm: provider.destroy_vm(pool, vm),
    }
    for call in steps.values():
        call("b-first")
    found: dict[str, Mapping[str, float]] = {}
    for step, call in steps.items():
        simulator.forget_calls()
        for number in range(CLONES_COUNTED):
            call(f"b-{number}")
        found[step] = {method: count / CLONES_COUNTED for method, count in sorted(simulator.calls().items())}
    return found


def _inventory(simulator: Simulator, provider: Provider, count: int) -> dict[str, Any]:
    simulator.fill(count)
    simulator.forget_calls()
    reset_peak()
    before, started_at = peak_bytes(), time.perf_counter()
    listed = provider.list_vms(simulator.spec(LARGE))
    seconds = time.perf_counter() - started_at
    figures = {"seconds": seconds, "calls": dict(simulator.calls()), "memory_growth_mib": (peak_bytes() - before) / MIB}
    simulator.empty()
    return {"vms": len(listed), **figures}


def _in_flight(target: Target, simulator: Simulator, scale: Scale, folder: Path) -> dict[str, Any]:
    """Measure real clones of one worker with a thread for each."""
    target.empty()
    config = {
        ":config": {"manage_pools": True, "dlq_enabled": True, "timeout": 60, "installation": INSTALLATION},
        ":providers": {simulator.name: simulator.options},
        ":pools": [{**simulator.pool(clones.POOL), "size": 0}],
    }
    (folder / "vmpooler.yaml").write_text(json.dumps(config), encoding="utf-8")
    simulator.forget_calls()
    simulator.slow_down(scale.seconds)
    figures = clones.measure_in_flight(target, scale.in_flight, folder)
    calls = simulator.calls().total()
    return {**figures, "each_seconds": scale.seconds, "calls_per_clone": calls / scale.in_flight}


def rows(found: list[Figures]) -> Iterator[Row]:
    for figures in found:
        yield from _rows(figures)


def _rows(figures: Figures) -> Iterator[Row]:
    title = figures["title"]
    for step, calls in figures["calls"].items():
        names = ", ".join(f"{count:g} {method}" for method, count in calls.items())
        row = partial(Row, part="providers", case=f"{title}, one VM", what=step, measure="API calls")
        yield row(value=sum(calls.values()), digits=1, note=names, counted=True)
    inventory, in_flight = figures["inventory"], figures["in_flight"]
    row = partial(Row, part="providers", case=title, what=f"inventory of {inventory['vms']:,} VMs")
    yield row(measure="API calls", value=sum(inventory["calls"].values()), digits=0, counted=True)
    yield row(measure="seconds", value=inventory["seconds"])
    yield row(measure="memory growth", value=inventory["memory_growth_mib"], unit=" MiB", digits=1)
    what = f"{in_flight['clones']} clones of {in_flight['each_seconds']:g} s on one worker"
    row = partial(Row, part="providers", case=title, what=what)
    yield row(measure="API calls", value=in_flight["calls_per_clone"], digits=1, note="for each clone")
    yield row(measure="seconds", value=in_flight["seconds"])
    yield row(measure="at once", value=in_flight["max_at_once"], digits=0)
