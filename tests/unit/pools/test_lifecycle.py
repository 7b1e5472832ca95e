"""When the check of a VM is due, and when it is too old."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmpooler_tasks.model.pools.lifecycle import (
    HOUR,
    VmLimits,
    age,
    has_expired,
    has_timed_out,
    is_name_of,
    is_older,
    is_past_lifetime,
    lifetime_hours,
    needs_notice,
    pending_is_due,
    ready_is_due,
    reports_its_name,
)
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.store.pools.vms import CHECK_FIELDS

NOW = 1_705_314_600.0

LIMITS = VmLimits(pending_seconds=900, notice_seconds=300, ready_seconds=3600, check_seconds=60, lifetime_hours=24)


def stamp(seconds: float) -> bytes:
    return ruby_utc(moment(NOW - seconds))


def fields(**given: bytes | float | None) -> dict[str, bytes | None]:
    """Metadata; a number is a time so many seconds ago."""
    known = {name: stamp(value) if isinstance(value, int | float) else value for name, value in given.items()}
    return {**dict.fromkeys(CHECK_FIELDS), **known}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(None, None), (b"", None), (b"some day", None), (b"\xff", None), (b"2024-01-15T10:29:00Z", 60), (stamp(-5), -5)],
)
def test_an_age_is_that_of_a_time_or_none(raw: bytes | None, expected: float | None) -> None:
    assert age(raw, NOW) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(59, False), (60, False), (61, True), (-61, False)])
def test_the_limit_itself_is_not_beyond_it(seconds: float, expected: bool) -> None:
    assert is_older(stamp(seconds), 60, NOW) is expected


@given(st.integers(0, 10**9))
def test_a_limit_of_0_is_never_reached(seconds: int) -> None:
    assert not is_older(stamp(seconds), 0, NOW)


@given(st.binary(max_size=40), st.floats(0, 1e6))
def test_no_bytes_are_too_odd(raw: bytes, seconds: float) -> None:
    assert is_older(raw, seconds, NOW) in (True, False)


def test_a_pending_vm_times_out_and_is_warned_of_before() -> None:
    assert [has_timed_out(fields(clone=seconds), LIMITS, NOW) for seconds in (900, 901)] == [False, True]
    assert [needs_notice(fields(clone=seconds), LIMITS, NOW) for seconds in (300, 301)] == [False, True]
    assert not needs_notice(fields(clone=301, timeout_notification=b"1"), LIMITS, NOW), "once"
    assert not has_timed_out(fields(), LIMITS, NOW)


@pytest.mark.parametrize(
    ("known", "being_cloned", "expected"),
    [
        (fields(clone=1), False, True),
        (fields(clone=1), True, False),
        (fields(clone=301), True, True),
        (fields(clone=301, timeout_notification=b"1"), True, False),
        (fields(clone=301, timeout_notification=b"1"), False, True),
    ],
)
def test_a_vm_that_is_being_cloned_needs_no_check_but_for_the_warning(
    known: dict[str, bytes | None], being_cloned: bool, expected: bool
) -> None:
    assert pending_is_due(known, LIMITS, NOW, being_cloned=being_cloned) is expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (fields(ready=10), True),
        (fields(ready=10, check=0), False),
        (fields(ready=10, check=59), False),
        (fields(ready=10, check=60), True),
        (fields(ready=10, check=-1), True),
        (fields(ready=10, check=b"never"), True),
        (fields(ready=3601, check=0), False),
        (fields(check=0), False),
    ],
)
def test_a_ready_vm_is_checked_if_it_was_not_lately(known: dict[str, bytes | None], expected: bool) -> None:
    assert ready_is_due(known, LIMITS, NOW) is expected


@pytest.mark.parametrize(
    ("known", "ttl", "expected"),
    [
        (fields(ready=3600), 3600, False),
        (fields(ready=3601), 3600, True),
        (fields(clone=9000, ready=10), 3600, False),
        (fields(clone=9000), 3600, True),
        (fields(ready=0), 0, False),
        (fields(ready=1), 0, True),
        (fields(ready=-60), 0, False),
    ],
)
def test_a_ready_vm_expires_after_its_limit_and_0_is_a_limit(
    known: dict[str, bytes | None], ttl: float, expected: bool
) -> None:
    assert has_expired(known, replace(LIMITS, ready_seconds=ttl), NOW) is expected


@pytest.mark.parametrize(("waited", "expected"), [(0, False), (60, False), (61, True), (-5, False)])
def test_a_ready_vm_has_a_minute_to_report_its_name(waited: float, expected: bool) -> None:
    assert reports_its_name(fields(ready=waited), NOW) is expected
    assert reports_its_name(fields(), NOW)


@pytest.mark.parametrize("hostname", ["vm-1", "VM-1", "vm-1.", "vm-1.example.com", "Vm-1.EXAMPLE.com.", " vm-1\n"])
def test_a_name_is_the_same_in_any_case_and_with_any_domain(hostname: str) -> None:
    assert is_name_of(hostname, "vm-1")
    assert is_name_of(hostname, "VM-1")


@pytest.mark.parametrize("hostname", ["vm-10", "vm", "localhost", "vm-1-old", "x.vm-1", "vm-1x.example.com", "."])
def test_another_name_is_another_name(hostname: str) -> None:
    assert not is_name_of(hostname, "vm-1")


def test_a_ready_vm_without_a_time_never_expires() -> None:
    assert not has_expired(fields(), LIMITS, NOW)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(None, 24), (b"", 24), (b"long", 24), (b"0", 0), (b"2", 2), (b"0.5", 0.5), (b" 3 ", 3), (b"\xff", 24)],
)
def test_the_lifetime_is_the_vms_own_if_it_is_a_number(raw: bytes | None, expected: float) -> None:
    assert lifetime_hours(fields(lifetime=raw), LIMITS) == expected


@pytest.mark.parametrize("raw", [b"nan", b"-1", b"inf"])
def test_an_odd_lifetime_ends_nothing(raw: bytes) -> None:
    assert not is_past_lifetime(fields(checkout=10**6, lifetime=raw), LIMITS, NOW)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (fields(checkout=24 * HOUR), False),
        (fields(checkout=24 * HOUR + 1), True),
        (fields(checkout=2 * HOUR, lifetime=b"2"), False),
        (fields(checkout=2 * HOUR + 1, lifetime=b"2"), True),
        (fields(checkout=10**8, lifetime=b"0"), False),
        (fields(lifetime=b"1"), False),
    ],
)
def test_a_running_vm_is_used_for_its_lifetime(known: dict[str, bytes | None], expected: bool) -> None:
    assert is_past_lifetime(known, LIMITS, NOW) is expected
