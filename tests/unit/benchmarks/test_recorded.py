"""A count that grows by a third fails; what depends on the machine is not compared."""

import pytest

from tests.benchmarks import recorded
from tests.benchmarks.parts import PARTS
from tests.benchmarks.rows import Row

NAME = "scrape | 10 pools | scrape | commands"


def commands(value: float, *, counted: bool = True) -> Row:
    return Row(part="scrape", case="10 pools", what="scrape", measure="commands", value=value, counted=counted)


@pytest.mark.parametrize("value", [0, 50, 90, 119])
def test_a_count_below_a_third_more_passes(value: float) -> None:
    assert recorded.compare([commands(value)], {NAME: 90}) == []


@pytest.mark.parametrize("value", [120, 1_000])
def test_a_count_that_grows_by_a_third_is_named_with_both_values(value: float) -> None:
    (sentence,) = recorded.compare([commands(value)], {NAME: 90})
    assert NAME in sentence
    assert "90 is recorded" in sentence
    assert f"{value:g} was counted" in sentence


def test_one_request_where_none_was_is_named() -> None:
    assert len(recorded.compare([commands(1)], {NAME: 0})) == 1
    assert recorded.compare([commands(0)], {NAME: 0}) == []


def test_what_depends_on_the_machine_is_not_compared() -> None:
    assert recorded.counts([commands(1_000, counted=False)]) == {}


def test_a_count_that_is_no_longer_measured_is_named() -> None:
    other = Row(part="scrape", case="10 pools", what="scrape", measure="ms", value=1)
    (sentence,) = recorded.compare([other], {NAME: 90})
    assert "no longer counted" in sentence


def test_parts_that_were_not_measured_are_left_out() -> None:
    other = Row(part="clones", case="", what="", measure="share", value=1)
    assert recorded.compare([other], {NAME: 90}) == []


def test_a_count_without_a_record_is_named() -> None:
    assert recorded.unrecorded([commands(5)], {}) == [NAME]


def test_a_record_keeps_the_parts_that_were_not_measured(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "FILE", tmp_path_factory.mktemp("recorded") / "recorded.json")
    recorded.write([commands(90), Row(part="cycles", case="", what="purge", measure="scripts", value=9, counted=True)])
    recorded.write([commands(80)])
    assert recorded.read() == {NAME: 80, "cycles |  | purge | scripts": 9}


def test_each_record_is_one_of_a_part() -> None:
    assert {name.split(" | ")[0] for name in recorded.read()} <= PARTS.keys()
