"""What a redriven letter's successor carries, and when a run ends by itself."""

import json
from dataclasses import replace
from typing import Any

import pytest

from vmpooler_tasks.model.deadletters.attempts import all_attempts, count_unknown
from vmpooler_tasks.model.redrive import (
    POISON_AFTER,
    SAMPLE,
    Lineage,
    Redrive,
    is_poison,
    lineage_of_successor,
    read_lineage,
    redrives,
    too_many_failed,
)

REDRIVE = Redrive(run="run-1", who="anna", at=1705314600.0)
LINEAGE = Lineage(dead_letter_id="0123456789abcdef", redrives=2, retry_count=5, run="run-1")


def test_a_successor_carries_the_dead_letters_id_and_one_more_of_each() -> None:
    dead_letter = {"id": "0123456789abcdef", "redrives": 1, "retry_count": 4, "redrive_of": "an-older-one"}
    assert replace(lineage_of_successor(dead_letter, REDRIVE), attempts=()) == LINEAGE


def test_the_first_successor_of_a_dead_letter_is_its_first() -> None:
    made = lineage_of_successor({"id": "a"}, REDRIVE)
    attempt = {"id": "a", "redriven_at": "2024-01-15T10:30:00Z", "run": "run-1", "who": "anna"}
    assert made == Lineage(dead_letter_id="a", redrives=1, retry_count=1, run="run-1", attempts=(attempt,))


def test_a_lineage_can_be_read_from_what_it_is_written_as() -> None:
    assert read_lineage(LINEAGE.as_fields()) == LINEAGE
    assert read_lineage({name: str(value) for name, value in LINEAGE.as_fields().items()}) == LINEAGE


def test_attempts_survive_the_way_through_a_hash_and_are_bounded() -> None:
    fields: dict[str, Any] = {"id": "0", "error_message": "x" * 5000, "failed_at": "2024-01-15T10:00:00Z"}
    for number in range(1, 15):
        lineage = read_lineage(lineage_of_successor(fields, REDRIVE).as_fields())
        assert lineage is not None
        fields = {"id": str(number), "attempts": list(lineage.attempts), "redrives": lineage.redrives}
    assert [one["id"] for one in all_attempts(fields)] == [str(number) for number in range(4, 15)]
    assert count_unknown(fields, redrives(fields)) == 4
    assert len(json.dumps(fields["attempts"])) < 10_000


@pytest.mark.parametrize("attempts", [None, "x", 7, {}, [1, None, "a"], [{"id": ["x"], "who": {}, "strange": 1}]])
def test_attempts_of_the_wrong_type_break_nothing(attempts: object) -> None:
    assert all_attempts({"id": "a", "attempts": attempts})[-1] == {"id": "a"}
    read = read_lineage({"redrive_of": "a", "failed_attempts": json.dumps(attempts)})
    assert read is not None
    assert all("strange" not in one for one in read.attempts)


@pytest.mark.parametrize("fields", [None, {}, {"redrives": 2}, {"redrive_of": ""}, {"redrive_of": None}, "x", [1]])
def test_what_comes_of_no_dead_letter_has_no_lineage(fields: object) -> None:
    assert read_lineage(fields) is None


@pytest.mark.parametrize("value", [None, "", "x", -1, [], {}, float("nan")])
def test_a_count_that_is_none_is_nought(value: Any) -> None:
    assert redrives({"redrives": value}) == 0
    assert lineage_of_successor({"id": "a", "retry_count": value}, REDRIVE).retry_count == 1
    assert read_lineage({"redrive_of": "a", "redrives": value, "run": None}) == Lineage(
        dead_letter_id="a", redrives=0, retry_count=0, run=""
    )


@pytest.mark.parametrize(
    ("times", "poison"), [(0, False), (POISON_AFTER - 1, False), (POISON_AFTER, True), ("9", True)]
)
def test_a_dead_letter_that_came_back_too_often_is_poison(times: Any, poison: bool) -> None:
    assert is_poison({"redrives": times}) is poison


@pytest.mark.parametrize(
    ("redriven", "failed", "percent", "stops"),
    [
        (SAMPLE - 1, SAMPLE - 1, 0, False),
        (SAMPLE, 5, 50, False),
        (SAMPLE, 6, 50, True),
        (SAMPLE, 1, 0, True),
        (SAMPLE, 0, 0, False),
        (1000, 1000, 100, False),
        (1000, 1001, 100, True),
        (200, 67, 33.4, True),
        (200, 66, 33.4, False),
    ],
)
def test_a_run_ends_when_more_than_the_share_of_enough_has_failed_again(
    redriven: int, failed: int, percent: float, stops: bool
) -> None:
    assert too_many_failed(redriven, failed, percent) is stops
