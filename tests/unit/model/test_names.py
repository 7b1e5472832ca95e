"""How names from Redis are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmpooler_tasks.model.names import listed, on_one_line, readable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pooler-happy-elephant", "pooler-happy-elephant"),
        ("two words 'quoted' \"twice\"", "two words 'quoted' \"twice\""),
        ("größe ☃", "größe ☃"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
        ("a\x00b", "a\\x00b"),
        ("\ud800", "\\ud800"),
        ("", ""),
    ],
)
def test_control_characters_are_escaped_and_the_rest_is_kept(text: str, shown: str) -> None:
    assert on_one_line(text) == shown


@given(st.text(st.characters()))
def test_any_text_is_one_printable_line_that_can_be_encoded(text: str) -> None:
    shown = on_one_line(text)
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable()
    assert shown.encode().decode() == shown


@given(st.binary())
def test_any_bytes_are_readable_and_what_is_utf_8_is_kept(raw: bytes) -> None:
    assert readable(raw).encode().decode() == readable(raw)
    assert readable(readable(raw).encode()) == readable(raw)


def test_bytes_that_are_no_utf_8_show_as_their_codes() -> None:
    assert readable(b"caf\xe9-\xff") == "caf\\xe9-\\xff"


def test_a_long_list_of_names_says_how_many_it_leaves_out() -> None:
    assert listed(["a", "b"], 2) == "a, b"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
    assert listed([], 2) == ""
