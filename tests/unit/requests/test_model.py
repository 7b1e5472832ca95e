"""What requests ask for, and the items that they are split into, as VMPooler writes them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmpooler_tasks.model.requests import CloneItem, Wanted, parse_item, parse_requested, total

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=",:"), min_size=1, max_size=20)
ALIASES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=","), max_size=20)
COUNTS = st.integers(0, 10**6)
PARTS = st.builds(Wanted, ALIASES, NAMES, COUNTS)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("centos:centos-7:1", [Wanted("centos", "centos-7", 1)]),
        ("a:p:1,b:q:12", [Wanted("a", "p", 1), Wanted("b", "q", 12)]),
        ("a:b:c:p:2", [Wanted("a:b:c", "p", 2)]),
        (":p:2", [Wanted("", "p", 2)]),
        ("a:p:0", [Wanted("a", "p", 0)]),
        ("a:p:007", [Wanted("a", "p", 7)]),
        ("a:p:1,a:p:2", [Wanted("a", "p", 3)]),
        ("a:p:1,b:p:2", [Wanted("a", "p", 1), Wanted("b", "p", 2)]),
    ],
)
def test_what_is_requested(text: str, wanted: list[Wanted]) -> None:
    assert list(parse_requested(text)) == wanted


@pytest.mark.parametrize(
    "text", ["p", "p:1", "a:p:", "a:p:x", "a:p:-1", "a:p:1.5", "a::1", "a:p:1,", ",a:p:1", "a:p:²", "a:\udcff:1"]
)
def test_anything_else_is_no_request(text: str) -> None:
    with pytest.raises(ValueError):
        parse_requested(text)


@pytest.mark.parametrize("text", ["", "a:p:1", "a:p:1:", "a:p:x:req", "p:1:req", "a::1:req", "a:p:1:\udcff"])
def test_anything_else_is_no_item(text: str) -> None:
    with pytest.raises(ValueError):
        parse_item(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (parse_requested, parse_item):
        with suppress(ValueError):
            read(text)


@given(st.lists(PARTS, min_size=1, max_size=5, unique_by=lambda part: (part.alias, part.pool)))
def test_a_request_reads_as_it_was_written(parts: list[Wanted]) -> None:
    assert list(parse_requested(",".join(map(str, parts)))) == parts


@given(PARTS, NAMES)
def test_an_item_reads_as_it_was_written(part: Wanted, request: str) -> None:
    item = CloneItem(part, request)
    assert parse_item(str(item)) == item


def test_the_total_is_of_all_parts() -> None:
    assert total(parse_requested("a:p:1,b:q:12")) == 13
    assert total(()) == 0
