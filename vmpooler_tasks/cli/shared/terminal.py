"""Fit text to the terminal: its width, and lines that are wrapped between words.

`COLUMNS` in the environment sets the width for output into a pipe as well. `watch` sets it, for example.
"""

import os
import shutil
import sys
from collections.abc import Iterator

from wcwidth import clip, width

MIN_WIDTH = 20
"""A terminal that says that it is narrower is treated as if it had this width."""

CONTINUATION = "  "
"""The further indent of a line that continues the one above."""

CLEAR_LINE = "\r\033[K"
"""Moves to the start of the line and clears it: a line of progress makes room for what follows."""


def display_width() -> int | None:
    """Return the columns of the terminal behind stdout; None for a pipe without COLUMNS."""
    chosen = os.environ.get("COLUMNS", "")
    if not (chosen.isdecimal() and int(chosen)) and not sys.stdout.isatty():
        return None
    return max(MIN_WIDTH, shutil.get_terminal_size().columns)


def wrap(text: str, columns: int | None, *, hang: int = 0, break_words: bool = False) -> Iterator[str]:
    """Yield the text in lines of at most this width, broken between words. Further lines are indented, by `hang`.

    A command in backticks counts as one word if it fits on a line. A word that is longer than a line stays whole on a
    line of its own, so that it can be copied; `break_words` breaks it instead.
    """
    if columns is None or width(text) <= columns:
        yield text
        return
    body = text.lstrip(" ")
    indent = " " * min(len(text) - len(body), columns // 2)
    further = " " * min(hang, columns // 2) if hang else indent + CONTINUATION
    line, is_empty = indent, True
    for word in _words(body, columns - len(further)):
        if not is_empty and width(line) + 1 + width(word) > columns:
            yield line.rstrip()
            line, is_empty = further, True
        left = word
        while break_words and width(line) + (not is_empty) + width(left) > columns:
            head = clip(left, 0, max(1, columns - width(line)))
            if not head.strip():
                break
            yield line + head
            left, line = left[len(head.rstrip()) :], further
        line += left if is_empty else f" {left}"
        is_empty = False
    yield line.rstrip()


def _words(text: str, columns: int) -> Iterator[str]:
    """Yield the words of the text. What stands in backticks is one word if it is not wider than the line."""
    held, is_open = list[str](), False
    for word in text.split(" "):
        held.append(word)
        is_open ^= word.count("`") % 2 == 1
        if not is_open:
            joined = " ".join(held)
            yield from [joined] if width(joined) <= columns else held
            held = []
    yield from held


def cut(text: str, columns: int) -> str:
    """Return the text, cut to this width with an ellipsis. On a terminal a character may take two places."""
    return text if width(text) <= columns else clip(text, 0, columns - 1).rstrip() + "…"
