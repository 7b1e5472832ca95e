"""Failed logins, counted for all web processes by the server's clock, and the addresses where each user logged in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmpooler_tasks.store import fleet_keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import leading_number
from vmpooler_tasks.store.redis.reads import Reads

KNOWN_SECONDS = 30 * 86_400
"""How long it is remembered that a user logged in from an address."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """At most so many failed logins within so many seconds. `subject`: what they are counted by."""

    subject: str
    failures: int
    seconds: int


@dataclass(frozen=True, slots=True)
class LoginState:
    """`is_known`: the user logged in from this address within 30 days. `waits`: seconds, of limits that are reached."""

    is_known: bool
    waits: Mapping[FailureLimit, float]


def read_state(db: Database, login: str, limits: Sequence[FailureLimit]) -> LoginState:
    """Return the state of `USER@ADDRESS`, in one round trip."""
    reads = Reads()
    reads.add("known", "EXISTS", fleet_keys.known_login(login))
    for limit in limits:
        reads.add(("count", limit), "GET", fleet_keys.login_failures(limit.subject))
        reads.add(("left", limit), "PTTL", fleet_keys.login_failures(limit.subject))
    replies = reads.send(db)
    reached = [one for one in limits if leading_number(replies.get(("count", one))) >= one.failures]
    waits = {limit: min(replies.get(("left", limit), 0) / 1000, limit.seconds) for limit in reached}
    return LoginState(bool(replies.get("known")), {limit: wait for limit, wait in waits.items() if wait > 0})


def count_failure(db: Database, limits: Sequence[FailureLimit]) -> float:
    """Count one failure for each limit. Return the seconds to wait if one was reached before; 0 if none was."""
    counters = [fleet_keys.login_failures(limit.subject) for limit in limits]
    arguments = [word for limit in limits for word in (limit.failures, limit.seconds)]
    return int(db.run("fleet/count_login_failure", counters, arguments)) / 1000


def remember_address(db: Database, login: str) -> None:
    """Remember that a user logged in from an address; `login` is `USER@ADDRESS`."""
    db.call("SET", fleet_keys.known_login(login), "1", "EX", KNOWN_SECONDS)
