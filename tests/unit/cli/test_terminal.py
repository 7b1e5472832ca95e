"""Lines that fit a terminal, and times in tables."""

import pytest
from wcwidth import width

from vmpooler_tasks.cli.shared.table import PastTime
from vmpooler_tasks.cli.shared.terminal import cut, display_width, wrap


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("one two three four five six", ["one two three four", "  five six"]),
        ("  → one two three four five", ["  → one two three", "    four five"]),
        ("a" * 30, ["a" * 30]),
        ("see " + "a" * 30 + " there", ["see", "  " + "a" * 30, "  there"]),
        ("now start `celery -A x` or", ["now start", "  `celery -A x` or"]),
        (
            "start `a command that is longer than the line`",
            ["start `a command", "  that is longer", "  than the line`"],
        ),
        ("a single ` in the text of this", ["a single ` in the", "  text of this"]),
        ("漢字漢字 漢字漢字 漢字漢字", ["漢字漢字 漢字漢字", "  漢字漢字"]),
    ],
)
def test_a_line_breaks_between_words(text: str, lines: list[str]) -> None:
    assert list(wrap(text, 20)) == lines
    assert list(wrap(text, None)) == [text]


def test_the_further_lines_hang_below_the_text_and_long_words_are_broken_if_asked() -> None:
    assert list(wrap("name:  one two three four", 20, hang=7)) == ["name:  one two three", "       four"]
    broken = list(wrap("  " + "語" * 25, 20, break_words=True))
    assert [width(line) for line in broken] == [20, 20, 20]
    assert "".join(line.strip() for line in broken) == "語" * 25


def test_a_cut_text_ends_with_an_ellipsis() -> None:
    assert cut("a long name", 6) == "a lon…"
    assert width(cut("漢字漢字", 6)) <= 6
    assert cut("short", 5) == "short"


def test_columns_in_the_environment_set_the_width_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert display_width() is None
    for value, expected in (("60", 60), ("5", 20), ("0", None), ("wide", None), ("", None)):
        monkeypatch.setenv("COLUMNS", value)
        assert display_width() == expected


@pytest.mark.parametrize(
    ("seconds", "short"),
    [(-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3 * 3600 + 5, "3 h"), (172800, "2 d")],
)
def test_a_short_time_has_one_unit(seconds: float, short: str) -> None:
    time = PastTime(1_700_000_000.0, now=1_700_000_000.0 + seconds)
    assert time.short() == short
    assert str(time) == "2023-11-14 22:13:20Z"
