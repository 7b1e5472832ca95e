"""Reads what a health check needs beside the queues, and keeps verdicts and their history."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.connection import Database

HISTORY_SECONDS = 7 * 24 * 3600
MAX_HISTORY = 10_080
"""A week of checks a minute apart."""

_LEADING_NUMBER = re.compile(rb"\s*([+-]?\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Task counters and pool sizes. `unreadable` names the keys that do not hold what they should."""

    active_clones: int
    active_ondemand_clones: int
    pending_ondemand_clones: int
    pool_sizes: Mapping[str, int]
    unreadable: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthState:
    """What the check remembers from one time to the next; times in seconds since the epoch.

    `purge_expected`: since when checks have seen the purge switched on. `empty_since`: since when each empty pool.
    """

    last_check: float | None = None
    purge_expected: float | None = None
    empty_since: Mapping[str, float]


def read_gauges(db: Database) -> Gauges:
    reads = (
        (keys.ACTIVE_CLONES, "get"),
        (keys.ACTIVE_ONDEMAND_CLONES, "get"),
        (keys.PENDING_ONDEMAND_CLONES, "zcard"),
        (keys.POOL_SIZES, "hgetall"),
    )
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for key, command in reads:
            getattr(pipe, command)(key)
        replies = pipe.execute(raise_on_error=False)
    unreadable = [
        key.decode() for (key, _), reply in zip(reads, replies, strict=True) if isinstance(reply, redis.ResponseError)
    ]
    clones, ondemand, pending, sizes = (None if isinstance(reply, redis.ResponseError) else reply for reply in replies)
    return Gauges(
        active_clones=leading_number(clones),
        active_ondemand_clones=leading_number(ondemand),
        pending_ondemand_clones=pending or 0,
        pool_sizes={pool.decode("utf-8", "replace"): leading_number(size) for pool, size in (sizes or {}).items()},
        unreadable=unreadable,
    )


def leading_number(raw: bytes | None) -> int:
    """As Ruby's `to_i` reads a counter: the number that the text begins with, else 0."""
    found = _LEADING_NUMBER.match(raw or b"")
    return int(found[1]) if found else 0


def read_state(db: Database) -> HealthState:
    raw = {key.decode(): value.decode() for key, value in _hash(db, keys.HEALTH_STATE).items()}
    return HealthState(
        last_check=float(raw["last_check"]) if raw.get("last_check") else None,
        purge_expected=float(raw["purge_expected"]) if raw.get("purge_expected") else None,
        empty_since=json.loads(raw.get("empty_since", "{}")),
    )


def write(
    db: Database, *, now: float, fields: Mapping[str, str], expires_in: float, entry: Mapping[str, Any],
    state: HealthState,
) -> None:  # fmt: skip
    """The verdict, its history and what the check remembers, in one atomic step; out of memory as well."""
    words = ["last_check", state.last_check or "", "purge_expected", state.purge_expected or "",
             "empty_since", json.dumps(state.empty_since)]  # fmt: skip
    db.run(
        "write_health",
        [keys.HEALTH, keys.HEALTH_HISTORY, keys.HEALTH_STATE],
        [now, int(expires_in), now - HISTORY_SECONDS, MAX_HISTORY,
         json.dumps({"at": now, **entry}, ensure_ascii=False, separators=(",", ":")),
         len(words), *words, *(part for pair in fields.items() for part in pair)],
    )  # fmt: skip


def read_verdict(db: Database) -> dict[str, str]:
    """`vmpooler__health` as it stands; empty if there is none."""
    return {k.decode(): v.decode("utf-8", errors="replace") for k, v in _hash(db, keys.HEALTH).items()}


def read_history(db: Database, since: float) -> list[dict[str, Any]]:
    """The kept checks since then, oldest first."""
    return [json.loads(raw) for raw in db.call("ZRANGE", keys.HEALTH_HISTORY, since, "+inf", "BYSCORE")]


def publish_config(db: Database, effective: Mapping[str, str]) -> None:
    """Replaces `vmpooler__config` as a whole."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=True)
        pipe.delete(keys.CONFIG)
        pipe.hset(keys.CONFIG.decode(), mapping=dict(effective))
        pipe.execute()


def _hash(db: Database, key: bytes) -> dict[bytes, bytes]:
    with db.translated_errors():
        found: dict[bytes, bytes] = db.client.hgetall(key.decode())
        return found
