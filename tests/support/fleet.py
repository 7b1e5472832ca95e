"""Heartbeats of workers and beats, recorded as the processes themselves record them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.support.world import World
from vmpooler_tasks.model.fleet import HEARTBEAT_SECONDS, Heartbeat, ProcessKind
from vmpooler_tasks.model.names import WORK_QUEUES
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.redis.locks import repeated


def worker(name: str = "worker@one", queues: Sequence[str] = WORK_QUEUES, **more: Any) -> Heartbeat:
    """Return the heartbeat of a worker."""
    host = name.partition("@")[2]
    about: dict[str, Any] = {"host": host, "pid": 1, "configuration": "c", **more}
    return Heartbeat(kind=ProcessKind.WORKER, name=name, queues=tuple(queues), **about)


def beat(name: str = "one:1", **more: Any) -> Heartbeat:
    """Return the heartbeat of a beat."""
    host, _, pid = name.partition(":")
    about: dict[str, Any] = {"host": host, "pid": int(pid), "configuration": "c", **more}
    return Heartbeat(kind=ProcessKind.BEAT, name=name, **about)


def record_processes(db: Database, *processes: Heartbeat) -> None:
    """Record that these processes are alive; without any, a worker of all queues and a beat."""
    for process in processes or (worker(), beat()):
        heartbeats.record(db, process)


@contextmanager
def keeping_alive(db: Database, *processes: Heartbeat) -> Iterator[None]:
    """Record these processes again and again during the block, as living ones do."""
    record_processes(db, *processes)
    with repeated(lambda: record_processes(db, *processes), HEARTBEAT_SECONDS):
        yield


def let_pass(db: Database, process: Heartbeat, seconds: float) -> None:
    """Make the heartbeat of a process so many seconds older, as if it had sent none since."""
    seen, _, record = db.client.hget(fleet_keys.HEARTBEATS, process.process).partition(b" ")
    earlier = float(seen) - seconds
    db.client.hset(fleet_keys.HEARTBEATS, process.process, b"%.6f %b" % (earlier, record))
    db.client.zadd(fleet_keys.HEARTBEAT_TIMES, {process.process: earlier})


def let_run(world: World) -> None:
    """Make a worker and a beat alive for an hour, and say that beat requested a check just now."""
    record_processes(world.db)
    for process in (worker(), beat()):
        let_pass(world.db, process, -3600)
    world.client.hset(keys.HEALTH, "last_scheduled_check", iso_utc(world.now))
