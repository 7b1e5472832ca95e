"""The circuit breaker of each provider: after failures in a row it is left alone for a while, by all workers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite, leading_number


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A provider or pool that is left alone until this epoch (in the past: until a clone succeeds)."""

    name: str
    failures: int
    open_until: float


class Question(StrEnum):
    """What a provider is asked beside clones; failures of each kind are counted apart."""

    LISTING = "listings"
    LOOK = "looks"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a provider stands: left alone until this epoch (None: it never failed too often), and its failed looks."""

    open_until: float | None
    failed_looks: int


def standing(db: Database, provider: str) -> Standing:
    until, looks = db.call("HMGET", keys.breaker(provider), "open_until", str(Question.LOOK))
    return Standing(None if until is None else finite(until.decode(errors="replace")), leading_number(looks))


def try_listing(db: Database, provider: str, *, now: float, until: float) -> bool:
    """Whether its inventory may be asked for: where it failed last time, by one at a time."""
    return bool(db.run("pools/claim_listing", [keys.breaker(provider)], [repr(now), repr(until)]))


def count_failure(
    db: Database, provider: str, question: Question, *, now: float, most: int, seconds: float, hung: bool = False
) -> None:
    """It could not answer: after `most` of these in a row it is left alone, and at once if it `hung`."""
    weight = most if hung else 1
    db.run("pools/count_provider_failure", [keys.breaker(provider)], [repr(now), most, seconds, str(question), weight])


def count_success(db: Database, provider: str, question: Question, *, most: int) -> None:
    """It answered. That ends the pause, unless other questions or clones failed in a row."""
    db.run("pools/count_provider_success", [keys.breaker(provider)], [most, str(question)])


def is_open(open_until: float, now: float, seconds: float) -> bool:
    """Half open counts as well, for as long as it takes to try: nothing says yet that it works again."""
    return open_until + seconds > now


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
            pipe.hmget(key, "failures", *Question, "open_until")
        replies = pipe.execute() if wanted else []
    found = []
    for name, (*counts, until) in zip(wanted, replies, strict=True):
        epoch = None if until is None else finite(until.decode(errors="replace"))
        if epoch is not None:
            found.append(OpenBreaker(name, max(map(leading_number, counts)), epoch))
    return found
