"""The circuit breakers of providers and pools: too many failures in a row suspend them for all workers."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from vmpooler_tasks.clock import MAX_DRIFT_SECONDS
from vmpooler_tasks.model.pools.results import TrialResult
from vmpooler_tasks.model.pools.suspension import Suspension
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite, leading_number, parse_last_error
from vmpooler_tasks.store.redis.reads import Reads

MAX_PAUSES = 10
"""The longest pause, in multiples of the first one. Each failure after a pause doubles it."""

MIN_FAILING_POOLS = 2
"""Pools that have to fail before their provider is suspended. The cause of a single one may be the pool itself."""

ERROR_FIELDS = ("error", "error_at")
"""The fields of a breaker that hold its last error."""


class CallKind(StrEnum):
    """A kind of provider call, beside clones, whose failures are counted apart. The values are fields in Redis."""

    INVENTORY = "inventories"
    CHECK = "checks"


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """`max_failures` in a row suspend a pool for `pause_seconds`. The pause doubles, up to `max_pause_seconds`.

    `failing_pools`: pools that have to fail before their provider is suspended. With one, failures count against the
    provider alone.
    """

    max_failures: int
    pause_seconds: float
    failing_pools: int = 1

    @property
    def max_pause_seconds(self) -> float:
        return MAX_PAUSES * self.pause_seconds

    def words(self) -> list[float]:
        """Return the four arguments that `breaker_limits_from` in pools/breaker.lua reads."""
        return [self.max_failures, self.pause_seconds, self.max_pause_seconds, self.failing_pools]


@dataclass(frozen=True, slots=True)
class ProviderState:
    """`suspended_until` is an epoch, or None if the provider was not suspended.

    `pool_suspended_until`: the same of a pool whose VM checks failed. `failed_checks`: those in a row, of provider and
    pool.
    """

    suspended_until: float | None
    pool_suspended_until: float | None
    failed_checks: int

    def refuses_calls(self, now: float) -> bool:
        """Return whether the breaker suspends the provider now, so that its calls wait."""
        return self.suspended_until is not None and self.suspended_until > now

    def refuses_checks(self, now: float) -> bool:
        """Return whether the breaker suspends the VM checks of the pool now."""
        return self.pool_suspended_until is not None and self.pool_suspended_until > now

    def refuses_orders(self, now: float) -> bool:
        """Return whether users' orders for VMs of the pool wait now: it could not be queried whether they are done."""
        return self.refuses_calls(now) or self.refuses_checks(now)


def read_state(db: Database, provider: str, pool: str = "") -> ProviderState:
    """Return the state of one provider's breaker, and of the VM checks of one of its pools."""
    reads = Reads()
    for name, key in (("provider", keys.breaker(provider)), ("pool", keys.pool_breaker(pool))):
        reads.add(name, "HMGET", key, "open_until", str(CallKind.CHECK))
    replies = reads.send(db)
    until, failed = replies.get("provider", (None, None))
    pool_until, pool_failed = replies.get("pool", (None, None))
    return ProviderState(
        suspended_until=finite(until),
        pool_suspended_until=finite(pool_until) if pool_failed else None,
        failed_checks=leading_number(failed) + leading_number(pool_failed),
    )


def read_waiting_pools(db: Database, pools: Collection[str], now: float) -> set[str]:
    """Return the pools whose clones wait: they failed with errors that may pass, or one clone tries them now."""
    reads = Reads()
    for pool in pools:
        reads.add(pool, "HMGET", keys.pool_breaker(pool), "transient", "open_until", "trial_until")
    found = reads.send(db)
    waiting = set()
    for pool in pools:
        transient, *until = found.get(pool, (None,))
        if transient and any((finite(one) or 0) > now for one in until):
            waiting.add(pool)
    return waiting


def end_untried(db: Database, provider: str, pool: str, *, now: float, trial_seconds: float) -> int:
    """End suspensions that were over `trial_seconds` ago, if no clone has tried since. Return how many were ended."""
    return int(
        db.run("pools/end_untried", [keys.breaker(provider), keys.pool_breaker(pool)], [repr(now), trial_seconds])
    )


def claim_inventory(db: Database, provider: str, *, now: float, until: float) -> bool:
    """Claim the next read of the provider's inventory. After a failed read only one reader gets it until then."""
    limits = [repr(now), repr(until), MAX_DRIFT_SECONDS]
    return bool(db.run("pools/claim_inventory", [keys.breaker(provider)], limits))


def renew_inventory_claim(db: Database, provider: str, *, until: float) -> bool:
    """Renew a claim of the provider's inventory until then. Return False if there is no claim any more."""
    return bool(db.run("pools/renew_inventory", [keys.breaker(provider)], [repr(until)]))


def end_impossible_suspensions(
    db: Database, providers: Iterable[str], pools: Iterable[str], *, now: float, longest_pause: float
) -> int:
    """End the suspensions that last longer than they can, because a clock was wrong. Return how many there were."""
    found = [*map(keys.breaker, providers), *map(keys.pool_breaker, pools)]
    return sum(db.run("pools/correct_breakers", page, [repr(now), longest_pause]) for page in chunks(found))


def count_failure(
    db: Database,
    provider: str,
    kind: CallKind,
    limits: BreakerLimits,
    *,
    now: float,
    pool: str = "",
    error: str = "",
    hung: bool = False,
) -> None:
    """Count a failed call, and keep its `error` (one line, without secrets) as the last one.

    Too many in a row in one pool suspend the pool, too many in several pools the provider. Without a `pool`, they
    suspend the provider; a single call that `hung` does so at once.
    """
    weight = limits.max_failures if hung else 1
    if hung or not pool:
        limits = replace(limits, failing_pools=1)
    db.run(
        "pools/count_provider_failure",
        [keys.breaker(provider), keys.pool_breaker(pool)],
        [str(kind), repr(now), *limits.words(), weight, error, pool],
    )


def count_success(db: Database, provider: str, kind: CallKind, limits: BreakerLimits, *, pool: str = "") -> None:
    """Reset the counts of failures of this kind, of the provider and the pool.

    End their suspensions, unless clones or another kind failed too often.
    """
    affected = [keys.breaker(provider), *([keys.pool_breaker(pool)] if pool else [])]
    db.run("pools/count_provider_success", affected, [str(kind), limits.max_failures])


def allow_trial(
    db: Database, *, now: float, trail: Mapping[str, Any], pool: str = "", provider: str = ""
) -> TrialResult:
    """Let one clone try the suspended pool or provider now. An entry in the audit says so, unless `trail` is empty."""
    result = db.run(
        "pools/allow_trial",
        [keys.pool_breaker(pool) if pool else keys.breaker(provider), fleet_keys.AUDIT]
        + [slots.key for slots in (keys.POOL_SLOTS, keys.REQUEST_SLOTS)],
        [repr(now), audit.MAX_ENTRIES, *audit.trail_words(trail)],
    )
    return TrialResult(result.decode())


def suspended_providers(db: Database, providers: Iterable[str]) -> list[Suspension]:
    """Return those of these providers that are suspended or wait for a trial."""
    return _suspensions(db, {name: keys.breaker(name) for name in providers})


def suspended_pools(db: Database, pools: Iterable[str]) -> list[Suspension]:
    """Return those of these pools that are suspended or wait for a trial."""
    return _suspensions(db, {name: keys.pool_breaker(name) for name in pools})


def _suspensions(db: Database, breakers: Mapping[str, bytes]) -> list[Suspension]:
    """Return those that are suspended. A breaker whose key has another type suspends nothing."""
    reads = Reads()
    for name, key in breakers.items():
        reads.add(name, "HMGET", key, "failures", "transient", *CallKind, "open_until", *ERROR_FIELDS)
    replies = reads.send(db)
    found = []
    for name in (name for name in breakers if name in replies):
        *counts, until, error, error_at = replies.get(name)
        epoch = finite(until)
        if epoch is not None:
            failures = max(map(leading_number, counts))
            found.append(Suspension(name, failures, epoch, parse_last_error(error, error_at)))
    return found
