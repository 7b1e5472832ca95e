"""The check of a member's bytes never rejects what the filter accepts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmpooler_tasks.model.deadletters.entry import read_dead_letter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.deadletters.prefilter import prefilter
from vmpooler_tasks.model.names import DeadLetterQueue

CLONE = DeadLetterQueue.CLONE
FIELDS = ("pool", "vm", "request_id", "error_class", "id")
VALUES: Any = st.sampled_from(
    [
        "centos-7",
        "p.q",
        "é",
        "a/b",
        'q"',
        "\\u0041",
        "A",
        "",
        "5",
        5,
        1e-5,
        "1e-05",
        True,
        "True",
        None,
        "Unreadable",
        {},
    ]
)


@given(
    fields=st.dictionaries(st.sampled_from(FIELDS), VALUES),
    wanted=st.dictionaries(st.sampled_from(["pool", "vm", "request", "error_class"]), VALUES.map(str)),
    form=st.sampled_from(["json", "escaped", "old", "junk"]),
    by_id=st.booleans(),
)
def test_what_the_filter_accepts_passes(fields: dict[str, Any], wanted: dict[str, str], form: str, by_id: bool) -> None:
    text = json.dumps(fields, ensure_ascii=form == "escaped")
    raw = {"old": f"vm:1:{text}", "junk": f"{{{text}"}.get(form, text).encode()
    entry = read_dead_letter(CLONE, raw, 0.0)
    chosen = DeadLetterFilter(**wanted, ids=frozenset({entry.id} if by_id else ()))  # type: ignore[arg-type]
    assert prefilter(chosen)(raw) or not chosen.accepts(entry)


@pytest.mark.parametrize(
    "wanted",
    [
        DeadLetterFilter(pool="red"),
        DeadLetterFilter(pool=frozenset({"red", "green"})),
        DeadLetterFilter(vm="vm-2"),
        DeadLetterFilter(request="r-2"),
        DeadLetterFilter(error_class="E2"),
        DeadLetterFilter(ids=frozenset({"0a"})),
    ],
)
def test_another_name_is_rejected_without_reading_the_member(wanted: DeadLetterFilter) -> None:
    raw = json.dumps({"pool": "blue", "vm": "vm-1", "request_id": "r-1", "error_class": "E1", "id": "1b"}).encode()
    assert not prefilter(wanted)(raw)
