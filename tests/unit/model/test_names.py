"""How names from Redis are shown."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hostile_names import HOSTILE_NAMES
from vmpooler_tasks.model.names import listed, on_one_line, printable_json, readable, shell_word


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


VALUES = st.recursive(
    st.text(st.characters()) | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(VALUES)
def test_printable_json_has_the_same_value_and_nothing_that_a_terminal_obeys(value: object) -> None:
    for indent in (None, 2):
        text = printable_json(value, indent=indent)
        assert json.loads(text) == value
        assert all(line.isprintable() for line in text.split("\n"))
        assert indent or "\n" not in text


def test_printable_json_keeps_what_is_printable() -> None:
    assert printable_json({"a": ["größe ☃ 🐘"]}) == '{"a":["größe ☃ 🐘"]}'
    assert printable_json("a\x9b\x7f\u202e\U000e0041") == r'"a\u009b\u007f\u202e\udb40\udc41"'
    assert printable_json("ü", ascii_only=True) == r'"\u00fc"'


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_a_name_in_a_command_is_one_printable_word(name: str) -> None:
    word = shell_word(name)
    assert word.isprintable()
    assert word.startswith("$'") or shlex.split(word) == [name]


def test_a_usual_name_in_a_command_stays_as_it_is() -> None:
    assert shell_word("centos-7-x86_64") == "centos-7-x86_64"
    assert shell_word("a b") == "'a b'"
    assert shell_word("it's\n\x9b\\") == r"$'it\'s\n\u009b\\'"
