"""A provider or pool that the circuit breaker suspends, and the last error that counted against it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LastError:
    """The newest error of a provider or pool: one line without secrets, and the epoch at which it was counted."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class Suspension:
    """A suspended provider or pool. A `suspended_until` in the past means: until a clone succeeds."""

    name: str
    failures: int
    suspended_until: float
    last_error: LastError | None = None
