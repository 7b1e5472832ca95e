"""Which texts are times, which moments they name, and how times are written."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmpooler_tasks.model.timestamps import iso_utc, moment, parse_time, ruby_utc, whole_seconds

HALF_PAST_TEN = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process lives seven hours west of Greenwich."""
    monkeypatch.setenv("TZ", "XXX+7")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-15 10:30:00 +0000",
        "2024-01-15 03:30:00 -0700",
        "2024-01-15 16:00:00 +0530",
        "2024-01-15 10:30:00 UTC",
        "2024-01-15T10:30:00Z",
        "2024-01-15T10:30:00+00:00",
        "2024-01-15T10:30:00.000Z",
        "2024-01-15 10:30:00Z",
        "2024-01-15T12:30:00+02",
        "20240115T103000Z",
        "2024-01-15T10:30Z",
        "2024-01-15 10:30:00,000 +0000",
        "Mon, 15 Jan 2024 10:30:00 GMT",
        "15 Jan 2024 10:30:00 +0000",
        "Mon, 15 Jan 2024 03:30:00 -0700",
        "Mon, 15 Jan 2024 05:30:00 EST",
    ],
)
def test_every_form_that_is_found_in_a_database_names_the_same_moment(text: str) -> None:
    assert parse_time(text.encode()) == HALF_PAST_TEN


@pytest.mark.parametrize("text", ["2024-01-15 03:30:00", "2024-01-15T03:30:00", "2024-01-15T03:30"])
@pytest.mark.usefixtures("local_zone")
def test_a_time_without_a_zone_is_local_time(text: str) -> None:
    assert parse_time(text.encode()) == HALF_PAST_TEN


@pytest.mark.usefixtures("local_zone")
def test_a_date_alone_is_its_local_midnight() -> None:
    assert parse_time(b"2024-01-15") == datetime(2024, 1, 15, 7, tzinfo=UTC)


def test_fractions_of_a_second_are_kept() -> None:
    assert parse_time(b"2024-01-15T10:30:00.25Z") == HALF_PAST_TEN + timedelta(milliseconds=250)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "12",
        "10:30",
        "now",
        "yesterday",
        "1705314600",
        "1705314600.5",
        "nil",
        "0",
        "2024",
        "2024-13-01 10:30:00 UTC",
        "2024-02-30 10:30:00 +0000",
        "2024-01-15 25:00:00 +0000",
        "2024-01-15 10:30:00 +9999",
        "2024-01-15 10:30:00 +0000\n",
        " 2024-01-15 10:30:00 +0000",
        "2024-01-15 10:30:00 +0000 x",
        "2024-01-15x10:30:00 +0000",
        "2024-W03-1",
        "Jan 15",
        "99 Jan 2024 10:30:00 GMT",
        "0000-01-15 10:30:00 +0000",
        "2024-01-15T10:30:00Z\x00",
        "\u0662\u0660\u0662\u0664-01-15 10:30:00 +0000",
    ],
)
def test_anything_else_is_no_time(text: str) -> None:
    assert parse_time(text.encode()) is None


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_a_time_or_none_and_never_an_error(raw: bytes) -> None:
    found = parse_time(raw)
    assert found is None or found.tzinfo is not None


LOOKS_LIKE_A_TIME = (
    r"\d{4}-[01]\d-[0-3]\d[T ][0-2]\d:[0-6]\d(:[0-6]\d([.,]\d{1,9})?)? ?(Z|UTC|[+-]\d{4}|[+-]\d\d:\d\d|[+-]\d\d)?"
    r"|(Mon, )?[0-3]\d (Jan|Feb|Foo) \d{4} [0-2]\d:[0-6]\d(:[0-6]\d)? ([+-]\d{4}|GMT|PDT)"
    r"|000[01]-01-0[12]|9999-12-31( 23:59:59)?"
)


@given(st.from_regex(LOOKS_LIKE_A_TIME, fullmatch=True))
def test_what_looks_like_a_time_is_one_or_none_and_never_an_error(text: str) -> None:
    found = parse_time(text.encode())
    assert found is None or found.tzinfo is not None
    if found is not None:
        assert isinstance((HALF_PAST_TEN - found).total_seconds(), float)
        assert isinstance(found < HALF_PAST_TEN, bool)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2099, 1, 1)),  # noqa: DTZ001 - the zone is the next argument
    st.integers(-12 * 60, 14 * 60),
)
def test_rubys_times_of_any_offset_are_read_as_they_were_meant(local: datetime, offset_minutes: int) -> None:
    then = local.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=offset_minutes)))
    assert parse_time(then.strftime("%Y-%m-%d %H:%M:%S %z").encode()) == then
    assert parse_time(ruby_utc(then)) == then


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (1_705_314_600, "2024-01-15T10:30:00Z"),
        (1_705_314_600.999, "2024-01-15T10:30:00Z"),
        (0, "1970-01-01T00:00:00Z"),
        (float("inf"), "9999-12-31T23:59:59Z"),
        (1e300, "9999-12-31T23:59:59Z"),
        (float("-inf"), "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_written_in_utc_with_a_z_whatever_the_score(epoch: float, text: str) -> None:
    assert iso_utc(epoch) == text


def test_rubys_form_cuts_fractions_off_and_pads_the_year() -> None:
    assert ruby_utc(moment(1_705_314_600.9)) == b"2024-01-15 10:30:00 +0000"
    assert ruby_utc(datetime(33, 4, 3, tzinfo=UTC)) == b"0033-04-03 00:00:00 +0000"


@pytest.mark.parametrize(
    ("age", "rounded"),
    [(0, 0), (0.4, 0), (0.5, 1), (1.5, 2), (2.5, 3), (-0.4, 0), (-0.5, -1), (-1.5, -2), (3650.49, 3650)],
)
def test_ages_are_rounded_as_ruby_rounds_halves_away_from_zero(age: float, rounded: int) -> None:
    assert whole_seconds(age) == rounded
