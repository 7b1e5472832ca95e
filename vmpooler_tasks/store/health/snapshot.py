"""Everything that the metrics show, read at once: a scrape comes every few seconds, and shall cost next to nothing.

What is of another type than it should be, or may not be read, counts as not there: it must not take the rest along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.fleet import workers
from vmpooler_tasks.store.fleet.schedule import BEAT_ALIVE_SECONDS, CLAIM_SUFFIX
from vmpooler_tasks.store.fleet.workers import ALIVE_SECONDS, Worker
from vmpooler_tasks.store.health.record import read_errors
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite, leading_number

SHOWN_QUEUES = (Queue.PENDING, Queue.READY, Queue.RUNNING, Queue.COMPLETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """One pool. `override`: its size as it was set through the API; `registered_size`: as a VMPooler has it."""

    override: str | None
    registered_size: int
    vms: Mapping[Queue, int]
    open_until: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Times in seconds since the epoch. `health` is `vmpooler__health` as it stands, None if it is no hash.

    `open_until`: until when each provider is left alone, None if it works. `last_ticks`: of each entry of the schedule.
    """

    health: Mapping[str, str] | None
    dlq_errors: Mapping[str, Mapping[str, int]]
    dlq_sizes: Mapping[DeadLetterQueue, int]
    counters: Mapping[str, float]
    purge_started: float | None
    purge_finished: float | None
    pools: Mapping[str, PoolSnapshot]
    open_until: Mapping[str, float | None]
    workers: Sequence[Worker]
    beats: int
    last_ticks: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Messages:
    """Celery's messages: those that wait in each queue, whatever their priority, and those that workers hold."""

    waiting: Mapping[str, int]
    unacknowledged: int


def read(
    db: Database,
    *,
    pools: Sequence[str],
    providers: Sequence[str],
    queues: Sequence[str],
    broker: Database | None,
    now: float,
) -> tuple[Snapshot, Messages | None]:
    """One round trip, and one more where no `pools` are named: then those that a VMPooler has registered.

    Celery's messages are in `broker`, a trip of its own if that is not `db`. None if there is none, or it does not
    answer. Raises StoreUnavailableError if `db` does not.
    """
    asked = _Questions()
    for ask in (_ask_records, _ask_letters):
        ask(asked)
    asked.put("workers", "ZRANGE", keys.WORKERS, now - ALIVE_SECONDS, "+inf", "BYSCORE")
    asked.put("beats", "ZCOUNT", keys.BEATS, now - BEAT_ALIVE_SECONDS, "+inf")
    for name in providers:
        asked.put(("provider", name), "HGET", keys.breaker(name), "open_until")
    if broker is db:
        _ask_messages(asked, queues)
    if pools:
        _ask_pools(asked, pools)
    else:
        asked.put("pools", "SMEMBERS", keys.POOLS)
    answers = asked.answers(db)
    if not pools:
        pools = _names(answers.get("pools"))
        asked = _Questions()
        _ask_pools(asked, pools)
        answers |= asked.answers(db)
    messages = _messages(answers, queues) if broker is db else read_messages(broker, queues)
    return _snapshot(answers, pools, providers), messages


class _Questions:
    """Commands by the name of what they ask for."""

    def __init__(self) -> None:
        self._commands: dict[Any, tuple[Any, ...]] = {}

    def put(self, name: Any, *command: Any) -> None:
        self._commands[name] = command

    def answers(self, db: Database) -> dict[Any, Any]:
        """Those that are no error, in one round trip."""
        if not self._commands:
            return {}
        with db.translated_errors():
            # No transaction: Redis refuses one when it is out of memory, and this only reads.
            pipe = db.client.pipeline(transaction=False)
            for command in self._commands.values():
                pipe.execute_command(*command)
            replies = pipe.execute(raise_on_error=False)
        answered = zip(self._commands, replies, strict=True)
        return {name: reply for name, reply in answered if not isinstance(reply, redis.ResponseError)}


def _ask_records(asked: _Questions) -> None:
    asked.put("health", "HGETALL", keys.HEALTH)
    asked.put("dlq_errors", "HGET", keys.HEALTH_STATE, "dlq_errors")
    asked.put("counters", "HGETALL", keys.COUNTERS)
    asked.put("purge", "HMGET", keys.PURGE_STATE, "started", "finished")
    asked.put("schedule", "HGETALL", keys.SCHEDULE)


def _ask_letters(asked: _Questions) -> None:
    for queue in DeadLetterQueue:
        asked.put(("letters", queue), "ZCARD", keys.dead_letters(queue))


def _ask_pools(asked: _Questions, pools: Sequence[str]) -> None:
    for pool in pools:
        asked.put(("override", pool), "HGET", keys.POOL_SIZES, pool)
        asked.put(("size", pool), "HGET", keys.pool(pool), "size")
        asked.put(("pool", pool), "HGET", keys.pool_breaker(pool), "open_until")
        for queue in SHOWN_QUEUES:
            asked.put((queue, pool), "SCARD", keys.queue(queue, pool))


def _ask_messages(asked: _Questions, queues: Sequence[str]) -> None:
    for queue in queues:
        for key in keys.messages(queue):
            asked.put(("messages", key), "LLEN", key)
    asked.put("unacknowledged", "HLEN", keys.UNACKNOWLEDGED)


def read_messages(broker: Database | None, queues: Sequence[str]) -> Messages | None:
    """In one round trip; None if there is no such broker, or it does not answer."""
    if broker is None:
        return None
    asked = _Questions()
    _ask_messages(asked, queues)
    try:
        return _messages(asked.answers(broker), queues)
    except VmpoolerTasksError:
        return None


def _messages(answers: Mapping[Any, Any], queues: Sequence[str]) -> Messages:
    waiting = {queue: sum(answers.get(("messages", key), 0) for key in keys.messages(queue)) for queue in queues}
    return Messages(waiting, answers.get("unacknowledged", 0))


def _snapshot(answers: Mapping[Any, Any], pools: Sequence[str], providers: Sequence[str]) -> Snapshot:
    started, finished = answers.get("purge") or (None, None)
    return Snapshot(
        health=_texts(answers["health"]) if "health" in answers else None,
        dlq_errors=read_errors(_text(answers.get("dlq_errors")) or "{}"),
        dlq_sizes={queue: answers[name] for queue in DeadLetterQueue if (name := ("letters", queue)) in answers},
        counters=_numbers(answers.get("counters")),
        purge_started=_number(started),
        purge_finished=_number(finished),
        pools={pool: _pool(answers, pool) for pool in pools},
        open_until={name: _number(answers.get(("provider", name))) for name in providers},
        workers=workers.read(answers.get("workers", ())),
        beats=answers.get("beats", 0),
        last_ticks={
            name: epoch for name, epoch in _numbers(answers.get("schedule")).items() if not name.endswith(CLAIM_SUFFIX)
        },
    )


def _pool(answers: Mapping[Any, Any], pool: str) -> PoolSnapshot:
    return PoolSnapshot(
        override=_text(answers.get(("override", pool))),
        registered_size=leading_number(answers.get(("size", pool))),
        vms={queue: answers[queue, pool] for queue in SHOWN_QUEUES if (queue, pool) in answers},
        open_until=_number(answers.get(("pool", pool))),
    )


def _names(raws: Sequence[bytes] | None) -> list[str]:
    """Those that are names: what is no UTF-8 belongs to nobody."""
    texts = (raw.decode(errors="replace") for raw in raws or ())
    return sorted(text for text in texts if "\ufffd" not in text)


def _texts(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {readable(name): value.decode(errors="replace") for name, value in raw.items()}


def _numbers(raw: Mapping[bytes, bytes] | None) -> dict[str, float]:
    found = {name: finite(text) for name, text in _texts(raw or {}).items()}
    return {name: number for name, number in found.items() if number is not None}


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode(errors="replace")


def _number(raw: bytes | None) -> float | None:
    return finite(_text(raw))
