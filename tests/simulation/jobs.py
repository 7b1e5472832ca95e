"""What a worker and the web process do with a large installation. It runs in a process of `tests.benchmarks.worker`."""

import time
from collections.abc import Callable
from typing import Any

from celery import current_app

from tests.simulation.installation import inspected
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.jobs.pools.overview import overview
from vmpooler_tasks.metrics.prometheus import exposition
from vmpooler_tasks.model.fleet import ProcessKind
from vmpooler_tasks.model.names import WORK_QUEUES, Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.vmpooler import queues
from vmpooler_tasks.tasks import registry
from vmpooler_tasks.tasks.observe.heartbeat import Activity, HeartbeatSender
from vmpooler_tasks.tasks.other_manager import guard
from vmpooler_tasks.tasks.process import database, settings

WATCH_SECONDS = 120.0


def _configuration(_: float) -> dict[str, Any]:
    return {"done": len(load_settings().pools)}


def _heartbeat(_: float) -> dict[str, Any]:
    _send_heartbeat()
    return {"done": 1}


def _tick(_: float) -> dict[str, Any]:
    """Send an inspection for each pool. Return their number."""
    result = current_app.tasks[registry.CHECK_POOLS]()
    count, *unit = str(result).split()
    if unit != ["pools"]:
        raise RuntimeError(result)
    return {"done": int(count)}


def _inspections(_: float) -> dict[str, Any]:
    """Inspect pools one after another, and send the work that they need."""
    pools = inspected(settings())
    for pool in pools:
        result = current_app.tasks[registry.CHECK_POOL](pool)
        if not str(result).endswith("pieces of work"):
            raise RuntimeError(result)
    return {"done": len(pools)}


def _metrics(_: float) -> dict[str, Any]:
    return {"done": len(exposition(database(), settings(), database().clock))}


def _overview(_: float) -> dict[str, Any]:
    return {"done": len(overview(database(), settings(), database().clock(), queues=WORK_QUEUES)[1])}


def _orphan(_: float) -> dict[str, Any]:
    """Search one orphan in every queue, as a purge does before it gives a stale one its expiry."""
    every_queue = [keys.queue(queue, pool.name) for pool in settings().pools for queue in Queue]
    return {"done": sum(queues.are_unqueued(database(), [b"orphan"], every_queue))}


JOBS: dict[str, Callable[[float], dict[str, Any]]] = {
    "configuration": _configuration,
    "heartbeat": _heartbeat,
    "tick": _tick,
    "inspections": _inspections,
    "orphan": _orphan,
    "metrics": _metrics,
    "overview": _overview,
}
"""`done` is what a job did: pools, inspections, bytes."""


def _send_heartbeat() -> None:
    """Record this process as the worker that has all pools. Without one no tick can tell which pools were removed."""
    sender = HeartbeatSender(database(), settings(), ProcessKind.WORKER, "worker@simulation")
    sender.send(Activity(queues=WORK_QUEUES))


def _watch() -> None:
    """Watch for another pool manager until it is known that there is none: until then no pool is inspected."""
    names, deadline = [pool.name for pool in settings().pools], time.monotonic() + WATCH_SECONDS
    while not guard.observe(names, settings().config.check_loop_delay_min).is_alone:
        if time.monotonic() > deadline:
            raise TimeoutError("the watch for another pool manager does not end")
        time.sleep(0.1)


def _prepare_tick() -> None:
    _watch()
    _send_heartbeat()


PREPARATIONS: dict[str, Callable[[], None]] = {"tick": _prepare_tick, "inspections": _watch}
"""What has to be done before a job, and does not count."""
