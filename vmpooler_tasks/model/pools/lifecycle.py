"""VMPooler's rules for pending, ready and running VMs: when a check is due, and what an age means."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.model.timestamps import parse_time

MINUTE, HOUR = 60, 3600

HOSTNAME_SECONDS = 60
"""How long a ready VM may report another hostname than its own."""

Fields = Mapping[str, bytes | None]
"""A VM's metadata by field; None where the field is missing."""


class Step(StrEnum):
    """A kind of work on one VM."""

    CLONE = "clone"
    CHECK_PENDING = "check_pending"
    CHECK_READY = "check_ready"
    CHECK_RUNNING = "check_running"
    DESTROY = "destroy"
    MARK = "mark"
    CREATE_DISK = "create_disk"
    CREATE_SNAPSHOT = "create_snapshot"
    REVERT_SNAPSHOT = "revert_snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmLimits:
    """One pool's time limits for its VMs. 0 means no limit; for `ready_seconds` it means: at the next check."""

    pending_seconds: float
    notice_seconds: float
    ready_seconds: float
    check_seconds: float
    lifetime_hours: float


def age(stamp: bytes | None, now: float) -> float | None:
    """Return the seconds since the timestamp, or None if it is missing or unreadable."""
    time = None if stamp is None else parse_time(stamp)
    return None if time is None else now - time.timestamp()


def is_older(stamp: bytes | None, seconds: float, now: float) -> bool:
    """Return True if the timestamp is more than `seconds` ago. 0 seconds means no limit: False."""
    known = age(stamp, now)
    return seconds > 0 and known is not None and known > seconds


def has_timed_out(fields: Fields, limits: VmLimits, now: float) -> bool:
    """Return True if a pending VM took longer than it may."""
    return is_older(fields["clone"], limits.pending_seconds, now)


def needs_notice(fields: Fields, limits: VmLimits, now: float) -> bool:
    """Return True if the single warning before a pending VM's timeout is due."""
    return not fields["timeout_notification"] and is_older(fields["clone"], limits.notice_seconds, now)


def pending_is_due(fields: Fields, limits: VmLimits, now: float, *, being_cloned: bool) -> bool:
    """Return True if a pending VM needs a check. During its clone only the warning is due."""
    return not being_cloned or needs_notice(fields, limits, now)


def ready_is_due(fields: Fields, limits: VmLimits, now: float) -> bool:
    """Return True if a ready VM was not checked lately."""
    return not _was_checked(fields, limits, now)


def has_expired(fields: Fields, limits: VmLimits, now: float) -> bool:
    """Return True if a ready VM waited for a user longer than it may, in whole seconds. 0 is a limit, too."""
    waited = ready_age(fields, now)
    return waited is not None and int(waited) > limits.ready_seconds


def ready_age(fields: Fields, now: float) -> float | None:
    """Return the seconds for which a ready VM has waited for a user, or None if no time is known.

    Without the time at which it became ready, the start of its clone counts.
    """
    return age(fields["ready"] or fields["clone"], now)


def reports_its_name(fields: Fields, now: float) -> bool:
    """Return True if a ready VM has had the time to report its hostname: guests report it late.

    Source: `mismatched_hostname?` in VMPooler's `pool_manager.rb`. A VM without a known time has had it.
    """
    waited = age(fields["ready"], now)
    return waited is None or int(waited) > HOSTNAME_SECONDS


def is_name_of(hostname: str, vm: str) -> bool:
    """Return True if the hostname is the VM's name, in any case, alone or with a domain."""
    reported, name = hostname.strip().rstrip(".").casefold(), vm.casefold()
    return reported == name or reported.startswith(f"{name}.")


def _was_checked(fields: Fields, limits: VmLimits, now: float) -> bool:
    last = age(fields["check"], now)
    return last is not None and 0 <= last < limits.check_seconds


def lifetime_hours(fields: Fields, limits: VmLimits) -> float:
    """Return the VM's own lifetime, else the configured one. 0 means no limit."""
    try:
        return float(fields["lifetime"] or b"")
    except ValueError:
        return limits.lifetime_hours


def is_past_lifetime(fields: Fields, limits: VmLimits, now: float) -> bool:
    """Return True if a running VM was checked out longer ago than its lifetime."""
    return is_older(fields["checkout"], lifetime_hours(fields, limits) * HOUR, now)
