"""Redaction takes time in proportion to the text: a text of 16 times the size takes about 16 times as long.

What counts is the time of this process on a core, not the time on the clock. A busy machine lengthens even that.
A comparison that fails is therefore repeated: a quadratic pattern fails each of them.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tests.support.secret_texts import PIECES, REPEATED
from vmpooler_tasks.model.redaction import redacted_text

SMALL, LARGE = 4 * 2**10, 64 * 2**10
MARGIN = 8
"""With a quadratic pattern, the larger text takes 256 times as long: this many times 16 is far from both."""

SHORTEST_SECONDS = 0.001

MAX_COMPARISONS = 20


def seconds(text: str) -> float:
    """Return the time of a core for redacting the text."""
    start = time.process_time()
    redacted_text(text)
    return time.process_time() - start


def grows_in_proportion(unit: str, start: str = "") -> None:
    """Compare the shortest times so far, after two measurements of each text at the earliest."""
    small, large = start + unit * (SMALL // len(unit)), start + unit * (LARGE // len(unit))
    small_seconds, large_seconds = seconds(small), seconds(large)
    for _ in range(MAX_COMPARISONS):
        small_seconds = min(small_seconds, seconds(small))
        large_seconds = min(large_seconds, seconds(large))
        if large_seconds / max(small_seconds, SHORTEST_SECONDS) < MARGIN * LARGE / SMALL:
            return
    pytest.fail(f"{start!r} and {unit!r}: {small_seconds:.4f} s, then {large_seconds:.4f} s")


@pytest.mark.parametrize("unit", [*REPEATED, *PIECES], ids=repr)
def test_time_grows_in_proportion_for_each_piece_of_a_pattern(unit: str) -> None:
    grows_in_proportion(unit)


@fuzzed(30)
@given(st.lists(st.sampled_from(PIECES), max_size=2), st.lists(st.sampled_from(PIECES), min_size=2, max_size=4))
def test_time_grows_in_proportion_for_pieces_of_several_patterns(start: list[str], unit: list[str]) -> None:
    grows_in_proportion("".join(unit), "".join(start))
