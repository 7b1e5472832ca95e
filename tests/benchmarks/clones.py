"""Clones: their throughput on the whole path, the number in flight, and the effect of more workers.

The provider is the dummy; real workers take real messages. Bare Celery's no-op tasks go through the same server in the
same round, with the same kind and number of slots.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from celery import Celery

from tests.benchmarks import bare
from tests.benchmarks.processes import ROOT, environment
from tests.benchmarks.rows import Figures, Row
from tests.benchmarks.target import Target
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.vm_names import candidates
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.pools import clones
from vmpooler_tasks.tasks import registry as names

POOL = "benchmark"
SLOTS = {"prefork": 4, "threads": 8}
"""Clones at once in the worker whose throughput is measured. More would slow each other down."""

MIN_SHARE = {"prefork": 85, "threads": 65}
"""The targets, in percent of bare Celery's no-op tasks."""

HELD = "benchmark-held"
"""The key of messages that no worker may take yet."""

TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of the measurements. `seconds` is the duration of a clone where it matters."""

    messages: int = 3000
    in_flight: int = 500
    in_flight_seconds: float = 30.0
    scaled: int = 200
    scaled_seconds: float = 1.0
    processes: Sequence[int] = (1, 2, 4)


def measure_clones(target: Target, sizes: Sizes, runs: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    throughput = {kind: _throughput(target, sizes, kind, runs, folder, say) for kind in SLOTS}
    say(f"clones: {sizes.in_flight} of {sizes.in_flight_seconds:g} s in flight at once")
    _reset(target, 0, seconds=sizes.in_flight_seconds, folder=folder)
    in_flight = measure_in_flight(target, sizes.in_flight, folder) | {"each_seconds": sizes.in_flight_seconds}
    scaling = []
    for processes in sizes.processes:
        say(f"clones: {processes} worker processes")
        seconds = _seconds(target, sizes.scaled, sizes.scaled_seconds, folder, workers=processes, threads=10)
        scaling.append({"processes": processes, "seconds": seconds})
    return {
        "messages": sizes.messages,
        "throughput": throughput,
        "in_flight": in_flight,
        "scaling": [{**one, "speedup": scaling[0]["seconds"] / one["seconds"]} for one in scaling],
        "scaled": sizes.scaled,
        "scaled_seconds": sizes.scaled_seconds,
    }


def _throughput(
    target: Target, sizes: Sizes, kind: str, runs: int, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    rounds = []
    for number in range(runs):
        say(f"clones: throughput of a worker with {SLOTS[kind]} {kind}, round {number + 1} of {runs}")
        nothing = _nothing_per_second(target, sizes.messages, kind, folder)
        rounds.append((_clones_per_second(target, sizes.messages, kind, folder), nothing))
    return {
        "slots": SLOTS[kind],
        "clones_per_second": statistics.median(one for one, _ in rounds),
        "nothing_per_second": statistics.median(one for _, one in rounds),
        "share": statistics.median(ours / nothing for ours, nothing in rounds),
        "shares": [ours / nothing for ours, nothing in rounds],
    }


def _nothing_per_second(target: Target, messages: int, kind: str, folder: Path) -> float:
    target.empty()
    with Celery("publisher", broker=target.url, set_as_current=False) as publisher:
        _publish(publisher, "bare.nothing", bare.QUEUE, [f"vm-{number}" for number in range(messages)])
    with _worker(target, folder, "tests.benchmarks.bare", bare.QUEUE, kind, SLOTS[kind], name="bare"):
        return messages / _time_until(lambda: _waiting(target, bare.QUEUE), messages)


def _clones_per_second(target: Target, messages: int, kind: str, folder: Path) -> float:
    _reset(target, messages, seconds=0, folder=folder)
    with _clone_worker(target, folder, kind, SLOTS[kind]):
        return messages / _time_until(lambda: messages - _ready(target), messages)


class Throughput(NamedTuple):
    """What several workers did. The server's CPU time and commands are those of the same time."""

    seconds: float
    server_seconds: float
    commands: int


def nothing_throughput(target: Target, messages: int, folder: Path, *, workers: int) -> Throughput:
    """Measure no-op tasks of bare Celery on so many workers of one process each."""
    target.empty()
    with Celery("publisher", broker=target.url, set_as_current=False) as publisher:
        _publish(publisher, "bare.nothing", bare.QUEUE, [f"vm-{number}" for number in range(messages)])
    start = partial(_worker, target, folder, "tests.benchmarks.bare", bare.QUEUE, "prefork", 1)
    return _throughput_of(target, bare.QUEUE, start, workers, folder, lambda: _waiting(target, bare.QUEUE))


def clone_throughput(target: Target, messages: int, folder: Path, *, workers: int) -> Throughput:
    """Measure clones of no time on so many workers of one process each."""
    _reset(target, messages, seconds=0, folder=folder)
    start = partial(_clone_worker, target, folder, "prefork", 1)
    return _throughput_of(target, names.CLONE_QUEUE, start, workers, folder, lambda: messages - _ready(target))


def _throughput_of(
    target: Target, queue: str, start: Any, workers: int, folder: Path, left: Callable[[], int]
) -> Throughput:
    """Hold the messages back until all workers are ready, and wait until they are done."""
    target.db.call("RENAME", queue, HELD)
    with ExitStack() as stack:
        for number in range(workers):
            stack.enter_context(start(name=f"worker{number}"))
        for number in range(workers):
            _wait_for_line(folder / f"worker{number}.log", " ready.")
        target.reset()
        started_at = time.perf_counter()
        target.db.call("RENAME", HELD, queue)
        while left() > 0:
            _wait(started_at)
        seconds, usage = time.perf_counter() - started_at, target.usage()
    return Throughput(seconds, usage.cpu_seconds, usage.commands)


def _seconds(target: Target, count: int, seconds: float, folder: Path, *, workers: int, threads: int) -> float:
    """From the first clone's begin to the last one's end, with so many worker processes."""
    _reset(target, 0, seconds=seconds, folder=folder)
    with ExitStack() as stack:
        for number in range(workers):
            stack.enter_context(_clone_worker(target, folder, "threads", threads, name=f"clones{number}"))
        for number in range(workers):
            _wait_for_line(folder / f"clones{number}.log", " ready.")
        _enqueue_clones(target, count)
        started_at = time.perf_counter()
        while _ready(target) < count:
            _wait(started_at)
        return time.perf_counter() - started_at


def measure_in_flight(target: Target, count: int, folder: Path) -> dict[str, Any]:
    """Clone so many VMs at once on one worker. The folder has its configuration in vmpooler.yaml."""
    with _clone_worker(target, folder, "threads", count):
        _wait_for_line(folder / "clones.log", " ready.")
        _enqueue_clones(target, count)
        started_at, max_at_once = time.perf_counter(), 0
        while _ready(target) < count:
            max_at_once = max(max_at_once, _count_in_flight(target))
            _wait(started_at)
        return {"clones": count, "max_at_once": max_at_once, "seconds": time.perf_counter() - started_at}


def _reset(target: Target, count: int, *, seconds: float, folder: Path) -> None:
    target.empty()
    config = {
        ":config": {"manage_pools": True, "dlq_enabled": True, "timeout": 60},
        ":providers": {"dummy": {"clone_seconds": seconds}},
        ":pools": [{"name": POOL, "size": 0, "template": "t"}],
    }
    (folder / "vmpooler.yaml").write_text(json.dumps(config), encoding="utf-8")
    if count:
        _enqueue_clones(target, count)


def _enqueue_clones(target: Target, count: int) -> None:
    """Start clones as the pool workers do, and put their messages into the queue."""
    now, vms = time.time(), list[str]()
    stamp = ruby_utc(moment(now))
    for size in range(500, count + 500, 500):
        started = clones.start(
            target.db,
            POOL,
            list(islice(candidates("b-"), 600)),
            size=min(size, count),
            max_clones=count,
            now=now,
            leased_until=now + 3600,
            metadata={"clone": stamp, "template": POOL, "pool": POOL},
        )
        vms += started.vms
    with Celery("publisher", broker=target.url, set_as_current=False) as publisher:
        _publish(publisher, names.CLONE_VM, names.CLONE_QUEUE, vms)


def _publish(publisher: Celery, task: str, queue: str, vms: Sequence[str]) -> None:
    with publisher.producer_or_acquire() as producer, producer.batch():
        for vm in vms:
            publisher.send_task(
                task, kwargs={"vm": vm, "pool": POOL}, queue=queue, producer=producer, ignore_result=True
            )


@contextmanager
def _clone_worker(target: Target, folder: Path, kind: str, slots: int, name: str = "clones") -> Iterator[None]:
    with _worker(target, folder, "vmpooler_tasks", names.CLONE_QUEUE, kind, slots, name=name):
        yield


@contextmanager
def _worker(target: Target, folder: Path, app: str, queue: str, kind: str, slots: int, *, name: str) -> Iterator[None]:
    """Run a worker as a service manager does, with its log in a file."""
    config = {"VMPOOLER_CONFIG_FILE": str(folder / "vmpooler.yaml")}
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        app,
        "worker",
        "--loglevel",
        "INFO",
        "-P",
        kind,
        "-c",
        str(slots),
        "-n",
        f"{name}@benchmark",
        "-Q",
        queue,
    ]
    with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment(), **config, "REDIS_URL": target.url, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _time_until(left: Callable[[], int], messages: int) -> float:
    """Return the seconds from the end of the first to the end of the last."""
    waited = time.perf_counter()
    while left() == messages:
        _wait(waited)
    started_at, first = time.perf_counter(), left()
    while left() > 0:
        _wait(started_at)
    return (time.perf_counter() - started_at) * messages / max(1, first)


def _waiting(target: Target, queue: str) -> int:
    return int(target.db.call("LLEN", queue)) + int(target.db.call("HLEN", "unacked"))


def _ready(target: Target) -> int:
    return int(target.db.call("SCARD", keys.queue(Queue.READY, POOL)))


def _count_in_flight(target: Target) -> int:
    """Return the number of clones that workers make now."""
    vms = target.db.call("ZRANGE", keys.POOL_SLOTS.key, 0, -1)
    with target.db.translated_errors():
        pipe = target.db.client.pipeline(transaction=False)
        for vm in vms:
            pipe.hexists(keys.work(vm), "owner")
        return sum(map(bool, pipe.execute())) if vms else 0


def _wait_for_line(log: Path, text: str) -> None:
    started_at = time.perf_counter()
    while text not in log.read_text(encoding="utf-8"):
        _wait(started_at)


def _wait(started_at: float) -> None:
    if time.perf_counter() - started_at > TIMEOUT_SECONDS:
        raise TimeoutError("the worker does not finish; see its log")
    time.sleep(0.01)


def rows(figures: Figures) -> Iterator[Row]:
    for kind, one in figures["throughput"].items():
        what = f"a worker of {one['slots']} {'processes' if kind == 'prefork' else 'threads'}"
        row = partial(Row, part="clones", case=f"{figures['messages']:,} clones of no time", what=what)
        yield row(measure="clones", value=one["clones_per_second"], unit="/s", digits=0)
        yield row(measure="bare no-ops", value=one["nothing_per_second"], unit="/s", digits=0)
        yield row(measure="share", value=one["share"] * 100, unit=" %", digits=0, minimum=MIN_SHARE[kind])
    flight = figures["in_flight"]
    at_once = f"{flight['clones']} clones of {flight['each_seconds']:g} s at once"
    row = partial(Row, part="long clones", case=at_once, what="one worker of as many threads")
    yield row(measure="all made after", value=flight["seconds"], unit=" s", digits=1)
    yield row(measure="at once", value=flight["max_at_once"], digits=0)
    for one in figures["scaling"]:
        row = partial(
            Row,
            part="long clones",
            case=f"{figures['scaled']} clones of {figures['scaled_seconds']:g} s, ten threads to a process",
            what=f"worker processes: {one['processes']}",
        )
        yield row(measure="all made after", value=one["seconds"], unit=" s", digits=1)
        yield row(measure="speed-up", value=one["speedup"], unit="x")
