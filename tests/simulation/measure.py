"""The jobs of an installation with ten to ten thousand pools: their time, the server's part of it, and the memory."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import MIB, case
from tests.benchmarks.processes import ready_worker
from tests.benchmarks.rows import Figures, Row
from tests.benchmarks.target import Target
from tests.simulation import installation
from tests.simulation.installation import Installation
from tests.support import servers
from vmpooler_tasks.model.names import CHECK_QUEUE
from vmpooler_tasks.store import broker_keys

POOLS = (10, 100, 1_000, 10_000)

JOBS = {
    "configuration": "read the configuration",
    "heartbeat": "a worker's first heartbeat",
    "tick": "tick of the schedule",
    "inspections": "inspection of one pool",
    "dry_run": "purge, dry run",
    "orphan": "search of one stale orphan",
    "health": "health check",
    "metrics": "text for Prometheus",
    "overview": "overview of the pools",
}


def measure_scale(target: Target, pools: Sequence[int], folder: Path, say: Callable[[str], None]) -> list[Figures]:
    folder.mkdir(parents=True, exist_ok=True)
    with servers.running("valkey", folder / "hypervisor") as hypervisor:
        return [_measure(target, count, hypervisor.url, folder / f"{count}", say) for count in pools]


def _measure(target: Target, pools: int, hypervisor: str, folder: Path, say: Callable[[str], None]) -> Figures:
    target.empty()
    empty = target.used_memory()
    say(f"scale: filling the server with {pools} pools")
    made = installation.make(target, pools, hypervisor, folder)
    filled = target.used_memory() - empty
    jobs = {}
    for job in JOBS:
        say(f"scale: {pools} pools: {job}")
        jobs[job] = _run(target, made, job)
        target.db.call("DEL", *broker_keys.messages(CHECK_QUEUE))  # as if the workers had taken them
    return {"vms": made.vms, "pools": made.pools, "memory_mib": filled / MIB, "jobs": jobs}


def _run(target: Target, made: Installation, job: str) -> dict[str, Any]:
    with ready_worker(target, job, made.now, made.config) as worker:
        target.reset()
        result: dict[str, Any] = json.loads(worker.request("go"))
        usage = target.usage()
    times = result["done"] if job == "inspections" else 1
    return {
        **result,
        "seconds": result["seconds"] / times,
        "cpu_seconds": result["cpu_seconds"] / times,
        "redis_cpu_seconds": usage.cpu_seconds / times,
        "longest_seconds": usage.longest_seconds,
        "commands": usage.commands / times,
    }


def rows(sizes: Sequence[Figures]) -> Iterator[Row]:
    for size in sizes:
        row = partial(Row, part="scale", case=case(size))
        yield row(
            what="the whole installation", measure="server's memory", value=size["memory_mib"], unit=" MiB", digits=1
        )
        carried = 1 / size["jobs"]["inspections"]["redis_cpu_seconds"]
        for job, name in JOBS.items():
            yield from _job_rows(partial(row, what=name), size["jobs"][job], size["pools"])
        yield row(what=JOBS["inspections"], measure="one server thread carries", value=carried, unit="/s", digits=0)


def _job_rows(row: Callable[..., Row], figures: Figures, pools: int) -> Iterator[Row]:
    yield row(measure="ms", value=figures["seconds"] * 1000, digits=1, at=pools)
    yield row(measure="its CPU ms", value=figures["cpu_seconds"] * 1000, digits=1)
    yield row(measure="server's ms", value=figures["redis_cpu_seconds"] * 1000, at=pools)
    if figures["longest_seconds"]:
        yield row(measure="longest command", value=figures["longest_seconds"] * 1000, unit=" ms", digits=0)
    yield row(measure="commands", value=figures["commands"], digits=0, counted=True)
    yield row(measure="memory growth", value=figures["memory_growth_bytes"] / MIB, unit=" MiB", digits=1)
    yield row(measure="worker's memory", value=figures["memory_bytes"] / MIB, unit=" MiB", digits=0)
