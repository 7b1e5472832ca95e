"""Heartbeats of workers and beats, recorded as the processes themselves record them."""

from collections.abc import Sequence
from typing import Any

from vmpooler_tasks.model.fleet import Heartbeat, ProcessKind
from vmpooler_tasks.model.names import WORK_QUEUES
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import heartbeats


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


def let_pass(db: Database, process: Heartbeat, seconds: float) -> None:
    """Make the heartbeat of a process so many seconds older, as if it had sent none since."""
    seen, _, record = db.client.hget(keys.HEARTBEATS, process.process).partition(b" ")
    earlier = float(seen) - seconds
    db.client.hset(keys.HEARTBEATS, process.process, b"%.6f %b" % (earlier, record))
    db.client.zadd(keys.HEARTBEAT_TIMES, {process.process: earlier})
