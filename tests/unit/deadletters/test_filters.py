"""Which dead letters a filter means."""

import json
import re
from typing import Any

import pytest

from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, read_dead_letter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue

FIELDS = {
    "vm": "pooler-a",
    "pool": "centos-7",
    "queue_from": "clone",
    "error_class": "Timeout",
    "error_message": "template 'x' does not exist",
    "failed_at": "2024-01-15T10:30:00Z",
    "request_id": "req-1",
    "id": "0a",
}
SCORE = 1000.0


def stored(**changes: Any) -> StoredDeadLetter:
    fields = {name: value for name, value in {**FIELDS, **changes}.items() if value is not None}
    return read_dead_letter(DeadLetterQueue.CLONE, json.dumps(fields).encode(), SCORE)


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"ids": frozenset({"0a", "zz"})},
        {"pool": "centos-7"},
        {"vm": "pooler-a"},
        {"request": "req-1"},
        {"error_class": "Timeout"},
        {"match": re.compile("does not exist")},
        {"match": re.compile("^Timeout: template")},
        {"since": SCORE},
        {"until": SCORE},
        {"since": SCORE - 1, "until": SCORE + 1, "pool": "centos-7"},
    ],
)
def test_a_dead_letter_that_meets_every_condition_is_meant(condition: dict[str, Any]) -> None:
    assert DeadLetterFilter(**condition).accepts(stored())


@pytest.mark.parametrize(
    "condition",
    [
        {"ids": frozenset({"zz"})},
        {"pool": "centos"},
        {"vm": "pooler-ab"},
        {"request": "req-11"},
        {"error_class": "timeout"},
        {"match": re.compile("no such")},
        {"since": SCORE + 1},
        {"until": SCORE - 1},
        {"pool": "centos-7", "vm": "other"},
    ],
)
def test_a_dead_letter_that_misses_one_condition_is_not_meant(condition: dict[str, Any]) -> None:
    assert not DeadLetterFilter(**condition).accepts(stored())


def test_a_dead_letter_without_the_field_is_not_meant() -> None:
    assert not DeadLetterFilter(vm="pooler-a").accepts(stored(vm=None))
    assert not DeadLetterFilter(pool="centos-7").accepts(stored(pool=None))
    assert not DeadLetterFilter(request="req-1").accepts(stored(request_id=None))


def test_a_filter_that_narrows_nothing_but_the_queue_selects_all() -> None:
    assert DeadLetterFilter().selects_all()
    assert DeadLetterFilter(queues=[DeadLetterQueue.CLONE]).selects_all()


@pytest.mark.parametrize(
    "condition",
    [
        {"ids": frozenset({"0a"})},
        {"pool": "p"},
        {"vm": "v"},
        {"request": "r"},
        {"error_class": "E"},
        {"match": re.compile("")},
        {"since": 0.0},
        {"until": 0.0},
    ],
)
def test_any_condition_narrows_it(condition: dict[str, Any]) -> None:
    assert not DeadLetterFilter(**condition).selects_all()
