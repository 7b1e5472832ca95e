"""The vSphere provider on a vCenter simulator: API calls of a clone, a large inventory, and many clones at once."""

import json
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks import clones
from tests.benchmarks.rows import Figures, Row
from tests.benchmarks.target import Target
from tests.support import vcenter_simulator
from tests.support.vcenter_simulator import CLUSTER, FOLDER, TEMPLATE, Vcenter
from vmpooler_tasks.providers import PoolSpec, Provider, ProviderContext, registry

INVENTORY_FOLDER = "Pooled VMs/other"
CLONES_COUNTED = 10


class Scale(NamedTuple):
    """The sizes of the measurements. A clone of those in flight gets its address after `seconds`."""

    inventory: int = 2500
    in_flight: int = 100
    seconds: float = 5.0


def measure_hypervisor(target: Target, scale: Scale, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    say("hypervisor: starting the vCenter simulator; the first start compiles it")
    with vcenter_simulator.running(folder) as vcenter:
        context = ProviderContext(name="vsphere", options=vcenter.options, redis_url="", installation="benchmark")
        with closing(registry.load(context)) as provider:
            say("hypervisor: the API calls of a clone and its end")
            calls = _calls_of_a_clone(vcenter, provider)
            say(f"hypervisor: the inventory of {scale.inventory} VMs")
            inventory = _inventory(vcenter, provider, scale.inventory)
        say(f"hypervisor: {scale.in_flight} clones of {scale.seconds:g} s in flight at once")
        return {"calls": calls, "inventory": inventory, "in_flight": _in_flight(target, vcenter, scale, folder)}


def _calls_of_a_clone(vcenter: Vcenter, provider: Provider) -> dict[str, Mapping[str, float]]:
    """Return the calls of one VM by method, for each step. The first VM, which logs in, is left out."""
    pool = _pool(FOLDER)
    steps: dict[str, Callable[[str], object]] = {
        "create_vm": lambda vm: provider.create_vm(pool, vm),
        "is_ready": lambda vm: provider.is_ready(pool, vm),
        "destroy_vm": lambda vm: provider.destroy_vm(pool, vm),
    }
    for call in steps.values():
        call("b-first")
    found: dict[str, Mapping[str, float]] = {}
    for step, call in steps.items():
        vcenter.forget_calls()
        for number in range(CLONES_COUNTED):
            call(f"b-{number}")
        found[step] = {method: count / CLONES_COUNTED for method, count in sorted(vcenter.calls().items())}
    return found


def _inventory(vcenter: Vcenter, provider: Provider, count: int) -> dict[str, Any]:
    vcenter.add([f"b-{number}" for number in range(count)], folder=INVENTORY_FOLDER)
    vcenter.forget_calls()
    before, started_at = _peak_mib(), time.perf_counter()
    listed = provider.list_vms(_pool(INVENTORY_FOLDER))
    seconds = time.perf_counter() - started_at
    calls = dict(vcenter.calls())
    vcenter.empty(INVENTORY_FOLDER)
    return {"vms": len(listed), "seconds": seconds, "calls": calls, "memory_growth_mib": _peak_mib() - before}


def _in_flight(target: Target, vcenter: Vcenter, scale: Scale, folder: Path) -> dict[str, Any]:
    """Measure real clones of one worker with a thread for each."""
    target.empty()
    config = {
        ":config": {"manage_pools": True, "dlq_enabled": True, "timeout": 60, "installation": "benchmark"},
        ":providers": {"vsphere": vcenter.options},
        ":pools": [{"name": clones.POOL, "size": 0, "template": TEMPLATE, "clone_target": CLUSTER, "folder": FOLDER}],
    }
    (folder / "vmpooler.yaml").write_text(json.dumps(config), encoding="utf-8")
    vcenter.forget_calls()
    vcenter.configure(guest_seconds=scale.seconds)
    figures = clones.measure_in_flight(target, scale.in_flight, folder)
    calls = sum(vcenter.calls().values())
    vcenter.configure()
    vcenter.empty(FOLDER)
    return {**figures, "each_seconds": scale.seconds, "calls_per_clone": calls / scale.in_flight}


def _pool(folder: str) -> PoolSpec:
    return PoolSpec(name=clones.POOL, template=TEMPLATE, clone_target=CLUSTER, options={"folder": folder})


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rows(figures: Figures) -> Iterator[Row]:
    for step, calls in figures["calls"].items():
        names = ", ".join(f"{count:g} {method}" for method, count in calls.items())
        row = partial(Row, part="providers", case="vSphere, one VM", what=step, measure="API calls")
        yield row(value=sum(calls.values()), digits=1, note=names, counted=True)
    inventory, in_flight = figures["inventory"], figures["in_flight"]
    row = partial(Row, part="providers", case="vSphere", what=f"inventory of {inventory['vms']:,} VMs")
    yield row(measure="API calls", value=sum(inventory["calls"].values()), digits=0, counted=True)
    yield row(measure="seconds", value=inventory["seconds"])
    yield row(measure="memory growth", value=inventory["memory_growth_mib"], unit=" MiB", digits=1)
    what = f"{in_flight['clones']} clones of {in_flight['each_seconds']:g} s on one worker"
    row = partial(Row, part="providers", case="vSphere", what=what)
    yield row(measure="API calls", value=in_flight["calls_per_clone"], digits=1, note="for each clone")
    yield row(measure="seconds", value=in_flight["seconds"])
    yield row(measure="at once", value=in_flight["max_at_once"], digits=0)
