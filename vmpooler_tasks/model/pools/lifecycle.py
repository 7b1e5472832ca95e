"""When a VM has to be looked at, and what its age means: VMPooler's rules for pending, ready and running."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.model.timestamps import parse_time

MINUTE, HOUR = 60, 3600

Fields = Mapping[str, bytes | None]
"""Metadata by field; None where it is missing."""


class Step(StrEnum):
    """Work on one VM that has to be done now."""

    CLONE = "clone"
    CHECK_PENDING = "check_pending"
    CHECK_READY = "check_ready"
    CHECK_RUNNING = "check_running"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """One pool's limits, in seconds; 0 is never."""

    pending_seconds: float
    notice_seconds: float
    ready_seconds: float
    check_seconds: float
    lifetime_hours: float


def age(stamp: bytes | None, now: float) -> float | None:
    """Seconds since the timestamp; None if it tells none."""
    time = None if stamp is None else parse_time(stamp)
    return None if time is None else now - time.timestamp()


def is_older(stamp: bytes | None, seconds: float, now: float) -> bool:
    """Whether it is known to be older than so many seconds; never if these are 0."""
    known = age(stamp, now)
    return seconds > 0 and known is not None and known > seconds


def has_timed_out(fields: Fields, limits: Limits, now: float) -> bool:
    """Whether a pending VM has taken too long."""
    return is_older(fields["clone"], limits.pending_seconds, now)


def needs_notice(fields: Fields, limits: Limits, now: float) -> bool:
    """Whether it is time for the one warning that a pending VM may soon have taken too long."""
    return not fields["timeout_notification"] and is_older(fields["clone"], limits.notice_seconds, now)


def pending_is_due(fields: Fields, limits: Limits, now: float, *, being_cloned: bool) -> bool:
    """A VM that is being cloned needs no look, until it takes too long."""
    return not being_cloned or needs_notice(fields, limits, now)


def ready_is_due(fields: Fields, limits: Limits, now: float) -> bool:
    return has_expired(fields, limits, now) or not _was_checked(fields, limits, now)


def has_expired(fields: Fields, limits: Limits, now: float) -> bool:
    """Whether a ready VM has waited for a user for too long."""
    return is_older(fields["ready"], limits.ready_seconds, now)


def _was_checked(fields: Fields, limits: Limits, now: float) -> bool:
    last = age(fields["check"], now)
    return last is not None and 0 <= last < limits.check_seconds


def lifetime_hours(fields: Fields, limits: Limits) -> float:
    """The VM's own lifetime, else the configured one; 0 is for ever."""
    try:
        return float(fields["lifetime"] or b"")
    except ValueError:
        return limits.lifetime_hours


def is_past_lifetime(fields: Fields, limits: Limits, now: float) -> bool:
    """Whether a running VM has been used for long enough."""
    return is_older(fields["checkout"], lifetime_hours(fields, limits) * HOUR, now)
