"""The table of filters, and what is derived from it: the command line, the API and the task have the same filters."""

import json
import re
from dataclasses import fields
from typing import Any

import click
import pytest
from pydantic import BaseModel

from tests.support.processes import ROOT
from vmpooler_tasks.cli.deadletters import dlq
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters.selection import parameter_of
from vmpooler_tasks.jobs.redrive.options import RedriveOptions
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, read_dead_letter
from vmpooler_tasks.model.deadletters.filters import (
    FILTERS,
    DeadLetterFilter,
    FilterKind,
    filter_of,
    refuse_everything,
)
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.web.api.parameters import DeadLetterPageQuery, DeadLetterQuery, DeleteBody, RedriveBody

NAMES = {one.name for one in FILTERS}
OPTIONS = {one.option for one in FILTERS if one.option}
READ_ONLY = {parameter_of(one) for one in FILTERS if one.read_only}

OUTPUT = {"json", "color"}
CHANGES = OUTPUT | {"all", "dry-run", "limit", "yes", "why"}
NO_FILTERS = {
    "list": OUTPUT | {"limit", "after"},
    "stats": OUTPUT | {"limit"},
    "export": OUTPUT | {"limit", "format", "output"},
    "delete": CHANGES,
    "redrive": CHANGES
    | {"edit", "args", "kwargs", "rate", "max-failed", "enqueue", "confirm", "resume", "cancel", "status", "runs"},
}
"""Options of the commands that do not select dead letters."""

ORDER = {"every", "dry_run", "why"}
REDRIVE = {*ORDER, "rate", "limit", "max_failed_percent", "confirm"}

VALUES: dict[str, Any] = {
    "ids": ["0a"],
    "queues": ["clone"],
    "pool": "p",
    "vm": "v",
    "request": "r",
    "error_class": "E",
    "error": "E: no <n>",
    "match": "no [0-9]",
    "search": "NO 7",
    "since": 1000,
    "until": 1000,
}
"""One value for each filter. Each selects the dead letter SELECTED."""


def stored(queue: DeadLetterQueue, score: float, **named: str) -> StoredDeadLetter:
    return read_dead_letter(queue, json.dumps(named).encode(), score)


SELECTED = stored(
    DeadLetterQueue.CLONE, 1000, id="0a", pool="p", vm="v", request_id="r", error_class="E", error_message="no 7"
)
EARLIER, LATER = stored(DeadLetterQueue.READY, 500, id="0b"), stored(DeadLetterQueue.READY, 2000, id="0c")


def test_the_table_names_every_field_of_the_filter_once() -> None:
    assert len(FILTERS) == len(NAMES)
    assert {field.name for field in fields(DeadLetterFilter)} == NAMES == VALUES.keys()
    assert {one.kind for one in FILTERS} == set(FilterKind)


@pytest.mark.parametrize("name", NO_FILTERS)
def test_each_command_has_the_filters_of_the_table_and_no_other(name: str) -> None:
    command = dlq.commands[name]
    options = {
        option.removeprefix("--")
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert options - NO_FILTERS[name] == OPTIONS
    arguments = {parameter.name for parameter in command.params if isinstance(parameter, click.Argument)}
    assert arguments == ({"ids"} if name in ("delete", "redrive") else set())


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (RedriveOptions, NAMES | REDRIVE | {"who"}),
        (RedriveBody, NAMES | REDRIVE),
        (DeleteBody, NAMES | ORDER),
        (DeadLetterQuery, READ_ONLY),
        (DeadLetterPageQuery, READ_ONLY | {"limit", "cursor", "sort", "order"}),
    ],
)
def test_the_task_and_the_api_have_the_filters_of_the_table_and_no_other(
    model: type[BaseModel], expected: set[str]
) -> None:
    assert model.model_fields.keys() == expected
    assert all(model.model_fields[name].description for name in expected & (NAMES | READ_ONLY))


def test_the_page_has_the_filters_of_a_query() -> None:
    script = (ROOT / "vmpooler_tasks/web/static/js/deadletters/filter.js").read_text()
    chips, names = script.partition("const CHIPS = {")[2].partition("};")[0], re.search(r"const NAMES = (.*);", script)
    assert names
    assert {*re.findall(r"^  (\w+): ", chips, re.MULTILINE), *re.findall(r'"(\w+)"', names[1])} == READ_ONLY


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_way_reads_a_value_as_the_same_filter(name: str) -> None:
    """The ways are the task, a body and a query of the API, and the command line."""
    (one,) = (one for one in FILTERS if one.name == name)
    wanted = filter_of({name: VALUES[name]})
    assert wanted.accepts(SELECTED)
    assert not wanted.accepts(EARLIER if name == "since" else LATER)
    given = {name: VALUES[name], "every": True}
    assert RedriveOptions.model_validate(given).filter() == wanted
    for model in (DeleteBody, RedriveBody):
        assert model.model_validate_json(json.dumps(given)).filter() == wanted
    if one.read_only:
        assert DeadLetterQuery.model_validate({parameter_of(one): VALUES[name]}).filter() == wanted
    typed = VALUES[name] if isinstance(VALUES[name], list) else [VALUES[name]]
    words = [word for value in typed for word in (f"--{one.option}", str(value))] if one.option else typed
    if one.kind is not FilterKind.EPOCH:  # a time is typed in another form
        with dlq.commands["delete"].make_context("delete", words) as context:
            assert filter_of(context.params) == wanted


def test_values_that_are_absent_or_empty_set_nothing() -> None:
    empty: dict[str, Any] = {"ids": [], "queues": [], "search": "", "pool": None}
    assert filter_of({}) == filter_of(empty) == DeadLetterQuery().filter() == DeadLetterFilter()


def test_everything_is_refused_unless_it_is_asked_for() -> None:
    with pytest.raises(InvalidInputError, match=r": name ids or filters, or say so$"):
        refuse_everything(DeadLetterFilter(), override="say so")
    only_a_queue = DeadLetterFilter(queues=(DeadLetterQueue.CLONE,))
    with pytest.raises(InvalidInputError, match=r": queues alone are not enough: name ids or filters as well, or say"):
        refuse_everything(only_a_queue, override="say so")
    refuse_everything(DeadLetterFilter(since=0.0), override="say so")


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "(?<"])
def test_a_wrong_regular_expression_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a regular expression"):
        filter_of({"match": pattern})
