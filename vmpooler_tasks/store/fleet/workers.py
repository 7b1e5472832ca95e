"""Which workers are alive, and the queues that they take messages from: each worker records it every few seconds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

WORKER_ALIVE_SECONDS = 30
"""A worker counts as alive for this long after its last record."""


@dataclass(frozen=True, slots=True)
class Worker:
    """`name` is Celery's (`celery@host`); `queues` are those that it takes messages from, sorted."""

    name: str
    queues: tuple[str, ...]

    def member(self) -> bytes:
        """Return the record as it stands in Redis."""
        return json.dumps({"worker": self.name, "queues": self.queues}).encode()


def record_worker(db: Database, worker: Worker, now: float, before: Worker | None = None) -> None:
    """Record that this worker is alive, and remove the records that are too old.

    `before` is its last record, if that was another: it is removed, too.
    """
    with db.translated_errors(keys.WORKERS):
        pipe = db.client.pipeline(transaction=False)
        if before is not None:
            pipe.zrem(keys.WORKERS, before.member())
        pipe.zadd(keys.WORKERS, {worker.member(): now})
        pipe.zremrangebyscore(keys.WORKERS, "-inf", now - WORKER_ALIVE_SECONDS)
        pipe.execute()


def forget_worker(db: Database, worker: Worker) -> None:
    """Remove the record of a worker that has stopped."""
    db.call("ZREM", keys.WORKERS, worker.member())


def live_workers(db: Database, now: float) -> list[Worker]:
    """Return the live workers by name. Raises WrongTypeError."""
    return parse_workers(db.call("ZRANGE", keys.WORKERS, now - WORKER_ALIVE_SECONDS, "+inf", "BYSCORE"))


def parse_workers(members: Sequence[bytes]) -> list[Worker]:
    """Return the workers by name. `members` are oldest first: of a worker that was restarted the last record counts."""
    found = {worker.name: worker for member in members if (worker := _parse(member))}
    return [found[name] for name in sorted(found)]


def _parse(member: bytes) -> Worker | None:
    """Return the worker; None if the member is not a record of one."""
    try:
        record = json.loads(member)
        return Worker(str(record["worker"]), tuple(sorted(str(queue) for queue in record["queues"])))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
