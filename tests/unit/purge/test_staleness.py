"""When an entry is stale. A whole page is sorted out with the same result as entry by entry."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmpooler_tasks.model.staleness import AgeLimit, Unusable, problem_of
from vmpooler_tasks.model.timestamps import moment, parse_time, ruby_utc

NOW = 1_705_314_600.0
DAY = 86400


def stamp(age: float) -> bytes:
    return ruby_utc(moment(NOW - age))


def test_an_entry_is_stale_only_when_older_than_the_limit() -> None:
    limit = AgeLimit.at(NOW, 7200)
    assert limit.stale_age(stamp(7201)) == 7201
    assert limit.stale_age(stamp(7200)) is None
    assert limit.stale_age(stamp(0)) is None


def test_a_fraction_of_a_second_beyond_the_limit_is_beyond_it() -> None:
    assert AgeLimit.at(NOW + 0.5, 7200).stale_age(stamp(7200)) == 7200.5


def test_a_time_ahead_is_fresh_for_a_day_since_clocks_and_zones_disagree() -> None:
    limit = AgeLimit.at(NOW, 7200)
    assert limit.stale_age(stamp(-DAY)) is None
    assert limit.stale_age(stamp(-DAY - 1)) is Unusable.IN_THE_FUTURE


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, Unusable.MISSING),
        (b"", Unusable.UNREADABLE),
        (b"\xff", Unusable.UNREADABLE),
        (b"12", Unusable.UNREADABLE),
    ],
)
def test_an_unusable_timestamp_has_a_reason(raw: bytes | None, expected: Unusable) -> None:
    assert AgeLimit.at(NOW, 7200).stale_age(raw) is expected


def test_an_entry_without_a_time_ages_from_when_it_was_first_seen() -> None:
    limit = AgeLimit.at(NOW, 7200)
    assert limit.stale_age_since(NOW - 7201) == 7201
    assert limit.stale_age_since(NOW - 7200) is None


@pytest.mark.parametrize("never", [1e11, 1e15, 1e300])
def test_a_limit_beyond_the_calendar_means_never(never: float) -> None:
    limit = AgeLimit.at(NOW, never)
    stamps = [b"0001-01-01 00:00:00 +0000", b"0999-01-01 00:00:00 +0000", stamp(7200)]
    assert [limit.stale_age(each) for each in stamps] == [None] * 3
    assert limit.stale_age_since(0) is None


def test_a_complaint_shows_the_text_and_a_missing_time_is_none() -> None:
    assert problem_of(Unusable.MISSING, None) is None
    assert problem_of(Unusable.UNREADABLE, b"1\xff") == 'no time information in "1\\xff"'
    assert problem_of(Unusable.IN_THE_FUTURE, b"2999") == '"2999" is more than a day ahead'


def test_a_page_of_rubys_times_is_sorted_out_without_looking_at_each() -> None:
    limit = AgeLimit.at(NOW, 7200)
    stamps = [stamp(0), stamp(7201), stamp(7199), stamp(7200), None, stamp(-2 * DAY), stamp(-DAY), stamp(1e9)]
    # Stale ones, the missing, the one too far ahead, and the one in the very second of the limit.
    assert list(limit.not_surely_fresh(stamps)) == [1, 3, 4, 5, 7]


@pytest.mark.parametrize("odd", [b"2024-01-15T10:30:00Z", b"x", stamp(0) + b"\n", stamp(0) + b"\n" + stamp(0), b"\n"])
def test_one_other_form_among_them_means_that_all_are_looked_at(odd: bytes) -> None:
    assert list(AgeLimit.at(NOW, 7200).not_surely_fresh([stamp(0), odd, None])) == [0, 1, 2]


def test_an_empty_page_has_nothing_to_parse() -> None:
    assert list(AgeLimit.at(NOW, 7200).not_surely_fresh([])) == []


def _ruby(age: float, offset_minutes: int) -> bytes:
    then = moment(NOW - age).astimezone(timezone(timedelta(minutes=offset_minutes)))
    return then.strftime("%Y-%m-%d %H:%M:%S %z").encode()


AGES = st.one_of(
    st.integers(-3 * DAY, 3 * DAY),
    st.sampled_from([7199, 7200, 7201, 0, -DAY, -DAY - 1, -DAY + 1]),
    st.floats(-1e8, 1e8),
)
RUBY_UTC = AGES.map(stamp)
IMPOSSIBLE_DATES = st.sampled_from([b"2024-02-31 10:30:00 +0000", b"2023-02-29 23:59:59 +0000"])
ODD = st.one_of(
    st.builds(_ruby, AGES, st.sampled_from([0, -420, 330, 60, -210])),
    AGES.map(lambda age: moment(NOW - age).isoformat().encode()),
    AGES.map(lambda age: stamp(age) + b"\n"),
    IMPOSSIBLE_DATES,
    st.just(b""),
    st.binary(max_size=30),
)
HOLES = st.sampled_from([None, 1])
PAGES = st.one_of(
    st.lists(st.one_of(RUBY_UTC, HOLES), max_size=12),
    st.lists(st.one_of(RUBY_UTC, HOLES, ODD), max_size=12),
)
NOWS = st.one_of(st.just(NOW), st.floats(NOW - 2, NOW + 2))
LIMITS = st.sampled_from([0.5, 1, 60, 7200, 7200.25, DAY, 1e9, 1e12])


def _is_a_date(raw: bytes) -> bool:
    return raw == b"" or parse_time(raw) is not None


@settings(max_examples=400)
@given(PAGES, NOWS, LIMITS)
def test_the_quick_look_passes_over_nothing_that_the_close_look_finds_stale(
    page: list[bytes | int | None], now: float, max_age: float
) -> None:
    limit = AgeLimit.at(now, max_age)
    looked_at = set(limit.not_surely_fresh(page))
    for index, raw in enumerate(page):
        if index in looked_at:
            continue
        assert isinstance(raw, bytes), "what has no timestamp has to be looked at"
        # A day that no month has passes for fresh until the limit reaches it; then it is looked at.
        assert limit.stale_age(raw) is None or (limit.stale_age(raw) is Unusable.UNREADABLE and not _is_a_date(raw))


@given(st.lists(RUBY_UTC, min_size=1, max_size=12), NOWS)
def test_fresh_times_of_rubys_are_not_looked_at(page: list[bytes], now: float) -> None:
    limit = AgeLimit.at(now, 7200)
    close = {i for i, raw in enumerate(page) if limit.stale_age(raw) is not None}
    for index in set(limit.not_surely_fresh(page)) - close:
        then = parse_time(page[index])
        assert then is not None
        assert abs((then - limit.cutoff).total_seconds()) < 1, "only the very second of the limit is in doubt"


def test_the_limit_names_its_moments() -> None:
    limit = AgeLimit.at(NOW, 7200)
    assert limit.now == datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
    assert limit.cutoff == datetime(2024, 1, 15, 8, 30, tzinfo=UTC)
    assert limit.horizon == datetime(2024, 1, 16, 10, 30, tzinfo=UTC)
