"""Reads what a health check needs beside the queues, and keeps verdicts and their history."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import redis

from vmpooler_tasks.model.health.history import KeptCheck
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite, leading_number

HISTORY_SECONDS = 7 * 24 * 3600
MAX_HISTORY = 10_080
"""A week of checks a minute apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """VMPooler's task counters. `unreadable` names the keys that do not hold what they should."""

    active_clones: int
    active_ondemand_clones: int
    pending_ondemand_clones: int
    unreadable: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthState:
    """What the check remembers from one time to the next; times in seconds since the epoch.

    `purge_expected`: since when checks have seen the purge switched on. `empty_since`: since when each empty pool.
    `dlq_errors`: dead letters by queue and class of error, for the metrics.
    """

    last_check: float | None = None
    purge_expected: float | None = None
    empty_since: Mapping[str, float]
    dlq_errors: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def read_gauges(db: Database) -> Gauges:
    reads = (
        (keys.ACTIVE_CLONES, "get"),
        (keys.ACTIVE_ONDEMAND_CLONES, "get"),
        (keys.PENDING_ONDEMAND_CLONES, "zcard"),
        (keys.POOL_SIZES, "hlen"),  # for its type: each pool's size is read with the pool
    )
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for key, command in reads:
            getattr(pipe, command)(key)
        replies = pipe.execute(raise_on_error=False)
    unreadable = [
        key.decode() for (key, _), reply in zip(reads, replies, strict=True) if isinstance(reply, redis.ResponseError)
    ]
    clones, ondemand, pending, _ = (None if isinstance(reply, redis.ResponseError) else reply for reply in replies)
    return Gauges(
        active_clones=leading_number(clones),
        active_ondemand_clones=leading_number(ondemand),
        pending_ondemand_clones=pending or 0,
        unreadable=unreadable,
    )


def read_state(db: Database) -> HealthState:
    """What cannot be read counts as never: the check that finds it so writes it anew."""
    raw = _hash(db, keys.HEALTH_STATE)
    return HealthState(
        last_check=finite(raw.get("last_check")),
        purge_expected=finite(raw.get("purge_expected")),
        empty_since=_read_times(raw.get("empty_since", "{}")),
        dlq_errors=read_errors(raw.get("dlq_errors", "{}")),
    )


def read_errors(text: str) -> dict[str, dict[str, int]]:
    """Queue → class of error → letters, as the last check counted them; what cannot be read counts as none."""
    try:
        found = json.loads(text)
        return {queue: {name: int(count) for name, count in classes.items()} for queue, classes in found.items()}
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError):
        return {}


def _read_times(text: str) -> dict[str, float]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    times = {name: finite(str(since)) for name, since in found.items()} if isinstance(found, dict) else {}
    return {name: since for name, since in times.items() if since is not None}


def write(
    db: Database,
    *,
    now: float,
    fields: Mapping[str, str],
    expires_in: float,
    check: KeptCheck,
    state: HealthState,
) -> None:
    """The verdict, its history and what the check remembers, in one atomic step; out of memory as well."""
    words = [
        "last_check",
        state.last_check or "",
        "purge_expected",
        state.purge_expected or "",
        "empty_since",
        json.dumps(state.empty_since),
        "dlq_errors",
        json.dumps(state.dlq_errors),
    ]
    db.run(
        "health/write",
        [keys.HEALTH, keys.HEALTH_HISTORY, keys.HEALTH_STATE],
        [
            now,
            int(expires_in),
            now - HISTORY_SECONDS,
            MAX_HISTORY,
            check.as_record(),
            len(words),
            *words,
            *(part for pair in fields.items() for part in pair),
        ],
    )


def read_status(db: Database) -> dict[str, str]:
    """`vmpooler__health` as it stands; empty if there is none."""
    return _hash(db, keys.HEALTH)


def read_history(db: Database, since: float) -> list[KeptCheck]:
    """Return the kept checks since then, oldest first. Entries that cannot be read are skipped."""
    found = map(KeptCheck.from_json, db.call("ZRANGE", keys.HEALTH_HISTORY, since, "+inf", "BYSCORE"))
    return [check for check in found if check is not None]


def publish_config(db: Database, effective: Mapping[str, str]) -> None:
    """Replaces `vmpooler__config` as a whole."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=True)
        pipe.delete(keys.CONFIG)
        pipe.hset(keys.CONFIG.decode(), mapping=dict(effective))
        pipe.execute()


def _hash(db: Database, key: bytes) -> dict[str, str]:
    with db.translated_errors(key):
        found = db.client.hgetall(key)
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in found.items()}
