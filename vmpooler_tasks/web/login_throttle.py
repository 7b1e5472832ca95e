"""Limit wrong logins by address and user, for all web processes together.

A right token and a session always pass: who guesses passwords locks out no program, and nobody who is logged in.
"""

import hashlib
import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil

from fastapi import HTTPException
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet import login_failures
from vmpooler_tasks.store.fleet.login_failures import FailureLimit, LoginState

MINUTE, HOUR = 60, 3600
FAILURES_AN_HOUR = 100
"""For one user, from all addresses where this user did not log in before (OWASP ASVS, section 2.2.1)."""

ADDRESS_FACTOR = 10
"""One address may fail so many times as often as one user there: several people may share an address."""

IPV6_NETWORK_BITS = 64
"""Whoever has one IPv6 address has all of its network."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to log in from an address; by a token if `user` is None."""

    address: str
    user: str | None

    @property
    def subject(self) -> str:
        return f"token@{self.address}" if self.user is None else f"{self.user}@{self.address}"


class LoginThrottle:
    """Counts wrong logins in Redis, and in this process while Redis does not reply."""

    def __init__(self, db: Database, users: Collection[str], failures_a_minute: int) -> None:
        self._db, self._users, self._failures_a_minute = db, users, failures_a_minute
        self._local = FixedWindowRateLimiter(MemoryStorage())

    def attempt(self, address: str, user: str | None) -> Attempt:
        """Return the attempt by its network and user. Unknown users share 256 names, so that keys are bounded."""
        if user is not None and user not in self._users:
            user = f"unknown-{hashlib.sha256(user.encode('utf-8', 'surrogatepass')).hexdigest()[:2]}"
        return Attempt(_network(address), user)

    def admit(self, attempt: Attempt) -> Sequence[FailureLimit]:
        """Return the limits that a failure counts for; none while Redis does not reply.

        Raise HTTPException 429 if one of them is reached: then the right password has to wait, too.
        """
        here, address = self._limit_here(attempt), self._limit_of_address(attempt)
        by_login, by_user = self._limit_an_hour(attempt.subject), self._limit_an_hour(attempt.user)
        try:
            state = login_failures.read_state(self._db, attempt.subject, (here, address, by_login, by_user))
        except VmpoolerTasksError:
            self._admit_locally(attempt)
            return ()
        limits = (here, address, by_login if state.is_known else by_user)
        _require_no_wait(state, limits)
        return limits

    def confirm(self, attempt: Attempt, limits: Sequence[FailureLimit]) -> None:
        """Raise HTTPException 429 if one of the limits that `admit` returned was reached since then.

        Call it before a right password is accepted: many guesses that arrive together are all admitted.
        """
        if not limits:
            self._admit_locally(attempt)
            return
        try:
            state = login_failures.read_state(self._db, attempt.subject, limits)
        except VmpoolerTasksError:
            self._admit_locally(attempt)
        else:
            _require_no_wait(state, limits)

    def count_failure(self, attempt: Attempt, limits: Sequence[FailureLimit]) -> None:
        """Count a failed attempt. Raise HTTPException 429 if too many like this one failed before."""
        try:
            wait = login_failures.count_failure(self._db, limits) if limits else self._count_locally(attempt)
        except VmpoolerTasksError:
            wait = self._count_locally(attempt)
        if wait:
            raise _refusal(wait)

    def count_wrong_token(self, address: str) -> None:
        """Count a wrong token as `count_failure` does."""
        attempt = self.attempt(address, None)
        self.count_failure(attempt, (self._limit_here(attempt),))

    def remember(self, attempt: Attempt) -> None:
        """Remember the address of a user who has logged in: failures elsewhere do not lock this user out here."""
        login_failures.remember_address(self._db, attempt.subject)

    def _limit_here(self, attempt: Attempt) -> FailureLimit:
        return FailureLimit(attempt.subject, self._failures_a_minute, MINUTE)

    def _limit_of_address(self, attempt: Attempt) -> FailureLimit:
        return FailureLimit(f"@{attempt.address}", ADDRESS_FACTOR * self._failures_a_minute, MINUTE)

    def _limit_an_hour(self, subject: str | None) -> FailureLimit:
        return FailureLimit(f"hour:{subject}", max(FAILURES_AN_HOUR, self._failures_a_minute), HOUR)

    def _local_limits(self, attempt: Attempt) -> Sequence[FailureLimit]:
        """Return the limits while Redis does not reply: it alone knows where a user logged in before."""
        here = self._limit_here(attempt)
        if attempt.user is None:
            return (here,)
        return here, self._limit_of_address(attempt), self._limit_an_hour(attempt.user)

    def _admit_locally(self, attempt: Attempt) -> None:
        """Raise HTTPException 429 if this process counted too many. It says a minute: Redis may reply by then."""
        if not all(self._local.test(_item(limit), limit.subject) for limit in self._local_limits(attempt)):
            raise _refusal(MINUTE)

    def _count_locally(self, attempt: Attempt) -> float:
        """Count a failure for each limit, in this process. Return the seconds to wait if one was reached before."""
        hits = [self._local.hit(_item(limit), limit.subject) for limit in self._local_limits(attempt)]
        return 0 if all(hits) else MINUTE


def _item(limit: FailureLimit) -> RateLimitItem:
    return RateLimitItemPerSecond(limit.failures, limit.seconds)


def _require_no_wait(state: LoginState, limits: Sequence[FailureLimit]) -> None:
    if wait := max(state.waits.get(limit, 0) for limit in limits):
        raise _refusal(wait)


def _refusal(seconds: float) -> HTTPException:
    wait = {"Retry-After": str(ceil(seconds))}
    return HTTPException(HTTPStatus.TOO_MANY_REQUESTS, f"too many wrong logins; wait {ceil(seconds)} s", wait)


def _network(address: str) -> str:
    """Return what an address counts as: an IPv4 address, the network of an IPv6 address, or a digest of other text."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a proxy may send anything
        return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, IPV6_NETWORK_BITS), strict=False))
        found = found.ipv4_mapped
    return str(found)
