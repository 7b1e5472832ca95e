"""Which workers are alive, and what they take: each says so itself every few seconds, as beats do."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database

ALIVE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Worker:
    """`name` is Celery's (`celery@host`), `queues` those that it takes messages from, sorted."""

    name: str
    queues: tuple[str, ...]

    def member(self) -> bytes:
        return json.dumps({"worker": self.name, "queues": self.queues}).encode()


def is_alive(db: Database, worker: Worker, now: float, before: Worker | None = None) -> None:
    """Tells `live` of this worker; `before`: what it told last time, if that was something else."""
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
    """By name. Raises WrongTypeError."""
    return read(db.call("ZRANGE", keys.WORKERS, now - ALIVE_SECONDS, "+inf", "BYSCORE"))


def read(members: Sequence[bytes]) -> list[Worker]:
    """Oldest sign of life first: of one that was started again with other queues, the last counts."""
    found = {worker.name: worker for member in members if (worker := _read(member))}
    return [found[name] for name in sorted(found)]


def _read(member: bytes) -> Worker | None:
    """None for what is none of ours."""
    try:
        told = json.loads(member)
        return Worker(str(told["worker"]), tuple(sorted(str(queue) for queue in told["queues"])))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
