"""The live workers and their queues. Each worker records a heartbeat every few seconds, as beats do."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

ALIVE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker: its Celery name (`celery@host`), and the queues that it takes messages from, sorted."""

    name: str
    queues: tuple[str, ...]

    def member(self) -> bytes:
        return json.dumps({"worker": self.name, "queues": self.queues}).encode()


def is_alive(db: Database, worker: Worker, now: float, before: Worker | None = None) -> None:
    """Record the heartbeat of this worker, for `live`. `before` is its last heartbeat if that was different."""
    with db.translated_errors(keys.WORKERS):
        pipe = db.client.pipeline(transaction=False)
        if before is not None:
            pipe.zrem(keys.WORKERS, before.member())
        pipe.zadd(keys.WORKERS, {worker.member(): now})
        pipe.zremrangebyscore(keys.WORKERS, "-inf", now - ALIVE_SECONDS)
        pipe.execute()


def has_stopped(db: Database, worker: Worker) -> None:
    db.call("ZREM", keys.WORKERS, worker.member())


def live(db: Database, now: float) -> list[Worker]:
    """Return the live workers by name. Raise WrongTypeError."""
    return read(db.call("ZRANGE", keys.WORKERS, now - ALIVE_SECONDS, "+inf", "BYSCORE"))


def read(members: Sequence[bytes]) -> list[Worker]:
    """Return workers by name. The oldest heartbeat is first, so that the last one of a name counts."""
    found = {worker.name: worker for member in members if (worker := _read(member))}
    return [found[name] for name in sorted(found)]


def _read(member: bytes) -> Worker | None:
    """Return the worker of a member, None if the member has another form."""
    try:
        fields = json.loads(member)
        return Worker(str(fields["worker"]), tuple(sorted(str(queue) for queue in fields["queues"])))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
