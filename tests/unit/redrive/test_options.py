"""What a task's arguments ask to be run again."""

from typing import Any

import pytest

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.redrive.options import read_options
from vmpooler_tasks.model.names import DeadLetterQueue


def test_filters_and_options_are_read_from_json() -> None:
    order = read_options(
        {"queues": ["clone", "ready"], "pool": "p", "match": "template .*", "since": 5, "rate": 2, "limit": 3}
    )
    wanted = order.filter()
    assert wanted.queues == (DeadLetterQueue.CLONE, DeadLetterQueue.READY)
    assert (wanted.pool, wanted.since, order.rate, order.limit) == ("p", 5, 2, 3)
    assert wanted.match is not None
    assert wanted.match.search("E: TEMPLATE x")


def test_everything_has_to_be_said() -> None:
    with pytest.raises(InvalidInputError, match=r": name ids or filters, or set every to true$"):
        read_options({}).filter()
    with pytest.raises(InvalidInputError, match=r": queues alone are not enough: .*as well, or set every to true$"):
        read_options({"queues": ["clone"]}).filter()
    assert read_options({"queues": ["clone"], "every": True}).filter().selects_all()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"queue": "clone"}, "queue: "),
        ({"queues": ["clones"]}, "queues.0: "),
        ({"queues": "clone"}, "queues: "),
        ({"limit": 0}, "limit: "),
        ({"rate": -1}, "rate: "),
        ({"max_failed_percent": 101}, "max_failed_percent: "),
        ({"since": "yesterday"}, "since: "),
        ({"pool": 7}, "pool: "),
    ],
)
def test_what_is_wrong_is_named(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_options(arguments)
    assert str(caught.value.args[0]).startswith(complaint)


def test_a_pattern_that_is_none_is_told() -> None:
    with pytest.raises(InvalidInputError, match="is not a regular expression"):
        read_options({"match": "("}).filter()
