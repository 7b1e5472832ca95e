"""The circuit breaker of each provider: after failures in a row it is left alone for a while, by all workers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.connection import Database
from vmpooler_tasks.store.numbers import finite, leading_number


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A provider or pool that is left alone until this epoch (in the past: until a clone succeeds)."""

    name: str
    failures: int
    open_until: float


def count_failure(db: Database, provider: str, *, now: float, most: int, seconds: float) -> float | None:
    """Its inventory could not be read; the epoch until which it is left alone, if that was once too often in a row."""
    answer = db.run("fail_provider", [keys.breaker(provider)], [repr(now), most, seconds])
    return float(answer) if answer else None


def count_success(db: Database, provider: str, *, most: int) -> bool:
    """Its inventory could be read. Whether that closed its breaker: not if clones have failed in a row."""
    return bool(db.run("pass_provider", [keys.breaker(provider)], [most]))


def open_ones(db: Database, providers: Iterable[str]) -> list[OpenBreaker]:
    """The providers that are left alone, or wait for a trial."""
    return _open(db, {name: keys.breaker(name) for name in providers})


def open_pools(db: Database, pools: Iterable[str]) -> list[OpenBreaker]:
    """The pools that are left alone, since their clones failed for good in a row, or wait for a trial."""
    return _open(db, {name: keys.pool_breaker(name) for name in pools})


def _open(db: Database, wanted: Mapping[str, bytes]) -> list[OpenBreaker]:
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for key in wanted.values():
            pipe.hmget(key, "failures", "listings", "open_until")
        replies = pipe.execute() if wanted else []
    found = []
    for name, (clones, listings, until) in zip(wanted, replies, strict=True):
        epoch = None if until is None else finite(until.decode(errors="replace"))
        if epoch is not None:
            found.append(OpenBreaker(name, max(leading_number(clones), leading_number(listings)), epoch))
    return found
