"""The recorded health status is read back, whoever wrote it."""

import json
from typing import Any

import pytest

from vmpooler_tasks.model.health.explanation import ABOUT_FIELDS, MAX_ERROR_CHARACTERS, HealthReason, error_line
from vmpooler_tasks.model.health.parsing import parse_metrics, parse_reason, parse_reasons
from vmpooler_tasks.model.health.status import Status

WHOLE: dict[str, Any] = {"code": "x", "severity": "degraded", "measured": 3, "threshold": 1, "pool": None}


@pytest.mark.parametrize(
    "changed",
    [
        {"code": None},
        {"code": 5},
        {"severity": "bad"},
        {"severity": 2},
        {"severity": None},
        {"measured": "many"},
        {"measured": None},
        {"measured": 1e999},
        {"threshold": []},
        {"threshold": "nan"},
        {"pool": 5},
        {"queue": []},
        {"measured": 10**400},
    ],
)
def test_other_data_than_a_reason_is_refused(changed: dict[str, Any]) -> None:
    assert parse_reason(WHOLE).code == "x"
    with pytest.raises(ValueError):
        parse_reason({**WHOLE, **changed})


def test_a_reason_is_read_back_with_all_that_it_is_about() -> None:
    about = {name: f"a {name}" for name in ABOUT_FIELDS}
    reason = HealthReason("x", Status.DEGRADED, 3, 1, **about)
    assert parse_reason(reason.as_json()) == reason
    assert HealthReason("x", Status.DEGRADED, 3, 1).as_json() == WHOLE  # what it is not about is left out


def test_an_error_in_a_reason_is_one_bounded_line_without_secrets() -> None:
    line = error_line("https://root:geheim@vcenter/ failed\nTraceback " + "x" * 1000)
    assert line.startswith("https://[redacted]@vcenter/ failed\\nTraceback xxx")
    assert len(line) == MAX_ERROR_CHARACTERS


@pytest.mark.parametrize("name", ["code", "severity", "measured", "threshold"])
def test_a_reason_without_a_field_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a health reason"):
        parse_reason({key: value for key, value in WHOLE.items() if key != name})


@pytest.mark.parametrize(
    "text", ["", "nojson", "{}", "5", "null", '"x"', "[5]", '["x"]', "[[]]", "[null]", "[NaN]", "[" * 100_000]
)
def test_other_data_than_a_list_of_reasons_is_refused(text: str) -> None:
    assert parse_reasons(json.dumps([WHOLE])) == (HealthReason("x", Status.DEGRADED, 3, 1),)
    with pytest.raises(ValueError):
        parse_reasons(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nojson",
        "[]",
        "5",
        "null",
        '{"queues":[]}',
        '{"queues":{"p":5}}',
        '{"errors":5}',
        '{"errors":null}',
        '{"errors":{"stuck_vm_count":"3"}}',
        '{"errors":{"stuck_vm_count":NaN}}',
        '{"tasks":[]}',
        "[" * 100_000,
    ],
)
def test_metrics_of_another_structure_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_metrics(text)


@pytest.mark.parametrize("text", ["{}", '{"queues":{"p":{"completed":{"size":1}}}}', '{"queues":{"dlq":{}}}'])
def test_metrics_with_missing_parts_are_read(text: str) -> None:
    assert parse_metrics(text) == json.loads(text)
