"""The recorded health status, the history of checks, and the state that a check leaves for the next one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.health.history import KeptCheck
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite

HISTORY_SECONDS = 7 * 24 * 3600
FACTS_KEPT_SECONDS = 24 * 3600
MAX_HISTORY = 10_080
"""A check for each minute of a week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthState:
    """What a check leaves for the next one. Times are in seconds since the epoch.

    `purge_expected`: since when checks saw the purge switched on. `empty_since`: since when each empty pool is empty.
    `work_expected_since`: work that never ended → the first check that expected it. `dlq_errors`: dead letters by queue
    and class of error, for the metrics.
    """

    last_check: float | None = None
    last_scheduled_check: float | None = None
    purge_expected: float | None = None
    empty_since: Mapping[str, float]
    work_expected_since: Mapping[str, float] = field(default_factory=dict)
    dlq_errors: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def status_key(*, is_observing: bool) -> bytes:
    """Return the key of the health status, with or without `observe_only`."""
    return keys.OBSERVED_HEALTH if is_observing else keys.HEALTH


@dataclass(frozen=True, slots=True)
class WatchedFacts:
    """The watched facts that a check saw, as text, and the digest of the configuration by which it saw them."""

    configuration: str
    digests: str


def read_state(db: Database) -> HealthState:
    """Return the state. A value or key that cannot be read counts as missing; the next check writes it again."""
    try:
        raw = _hash(db, keys.HEALTH_STATE)
    except WrongTypeError:
        raw = {}
    return HealthState(
        last_check=finite(raw.get("last_check")),
        last_scheduled_check=finite(raw.get("last_scheduled_check")),
        purge_expected=finite(raw.get("purge_expected")),
        empty_since=read_times(raw.get("empty_since", "{}")),
        work_expected_since=read_times(raw.get("work_expected_since", "{}")),
        dlq_errors=read_errors(raw.get("dlq_errors", "{}")),
    )


def read_errors(text: str) -> dict[str, dict[str, int]]:
    """Return queue → class of error → dead letters; empty if the text cannot be read."""
    try:
        found = json.loads(text)
        return {queue: {name: int(count) for name, count in classes.items()} for queue, classes in found.items()}
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError):
        return {}


def read_times(text: str) -> dict[str, float]:
    """Return name → epoch; empty if the text cannot be read."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    times = {name: finite(str(since)) for name, since in found.items()} if isinstance(found, dict) else {}
    return {name: since for name, since in times.items() if since is not None}


def record_check(
    db: Database,
    *,
    now: float,
    fields: Mapping[str, str],
    expires_in: float,
    prolongs: bool,
    check: KeptCheck,
    state: HealthState,
    facts: WatchedFacts,
    is_observing: bool = False,
) -> None:
    """Write the health status, its history, the state and the facts in one atomic step, also without memory.

    The status expires `expires_in` seconds after the last write that `prolongs` its expiry. With `is_observing` the
    status goes into a key of its own, and into `vmpooler__health` only by `offer_status`.
    """
    words = _state_words(state)
    db.run(
        "health/write",
        [status_key(is_observing=is_observing), keys.HEALTH_HISTORY, keys.HEALTH_STATE, keys.HEALTH_FACTS],
        [
            now,
            int(expires_in),
            int(prolongs),
            now - HISTORY_SECONDS,
            MAX_HISTORY,
            check.as_record(),
            facts.configuration,
            facts.digests,
            FACTS_KEPT_SECONDS,
            len(words),
            *words,
            *(part for pair in fields.items() for part in pair),
        ],
    )


def read_facts(db: Database) -> dict[str, str]:
    """Return configuration → facts of the last check; empty if no check recorded any. Raises WrongTypeError."""
    return _hash(db, keys.HEALTH_FACTS)


def _state_words(state: HealthState) -> list[str | float]:
    """Return the fields of the state with their values, as HSET takes them."""
    return [
        "last_check",
        state.last_check or "",
        "last_scheduled_check",
        state.last_scheduled_check or "",
        "purge_expected",
        state.purge_expected or "",
        "empty_since",
        json.dumps(state.empty_since),
        "work_expected_since",
        json.dumps(state.work_expected_since),
        "dlq_errors",
        json.dumps(state.dlq_errors),
    ]


def offer_status(db: Database, fields: Mapping[str, str], *, expires_in: float, replaceable: str = "") -> bool:
    """Write `vmpooler__health`, unless another program wrote it. Return True if it was written.

    `replaceable` is the `last_check` of a status of another program that may be replaced. Raises WrongTypeError.
    """
    arguments = [replaceable, int(expires_in), *(part for pair in fields.items() for part in pair)]
    return bool(db.run("health/offer", [keys.HEALTH], arguments))


def read_status(db: Database, *, is_observing: bool = False) -> dict[str, str]:
    """Return the fields of the health status; empty if its key is missing. Raises WrongTypeError."""
    return _hash(db, status_key(is_observing=is_observing))


def read_history(db: Database, since: float) -> list[KeptCheck]:
    """Return the kept checks since then, oldest first. Entries that cannot be read are skipped."""
    found = map(KeptCheck.from_json, db.call("ZRANGE", keys.HEALTH_HISTORY, since, "+inf", "BYSCORE"))
    return [check for check in found if check is not None]


def _hash(db: Database, key: bytes) -> dict[str, str]:
    with db.translated_errors(key):
        found = db.client.hgetall(key)
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in found.items()}
