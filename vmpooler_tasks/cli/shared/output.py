"""How results are shown: tables for people, JSON for machines, colours only on a terminal."""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from wcwidth import clip, width

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.timestamps import iso_utc

COLOURS = {"healthy": "green", "ok": "green", "degraded": "yellow", "warn": "yellow", "unhealthy": "red", "fail": "red"}
GAP = 2
"""Blanks between columns."""

WHOLE = ("ID", "EXAMPLE")
"""Columns that are never cut: half an id is worth nothing."""

TIMES = ("TIME", "FAILED AT", "NEWEST", "OLDEST")
"""Columns that lose their seconds before other text becomes too short to read, and last all but the date."""

LONGEST = 80
"""Places that a column may take where no terminal bounds it: in a pipe."""

LONGEST_ID, LONGEST_NUMBER = 36, 12
"""The same for `WHOLE` columns (a UUID has 36) and for numbers, on a terminal as well."""

MAX_CHARACTERS = 8 * LONGEST
"""Characters of a field that are read for a table: marks that take no place of their own could be thousands."""

COMFORTABLE, NARROW, HEADING, MINUTE, DATE = 16, 6, 4, 17, 10
"""Widths to which columns are cut: text at first and at last, the heading of a number, a time at first and at last."""


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def print_json_line(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")


def print_line(text: str, colour: str | None = None) -> None:
    """One line, whatever the text holds: names and messages are written by whoever writes to Redis."""
    click.echo(_coloured(on_one_line(text), colour))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
    """Print rows below their headings; `numbers` names the columns that are set to the right.

    On a terminal, columns are cut so that a line fits. In a pipe, each column has its own limit (`LONGEST`), so that
    one long field does not widen every line. What is cut ends with an ellipsis; JSON has every field whole.
    """
    cells = [[_cell(cell) for cell in row] for row in rows]
    limits = [_limit(heading, numbers) for heading in headings]
    widths = [min(max(map(width, column)), limit) for limit, *column in zip(limits, headings, *cells, strict=True)]
    terminal = sys.stdout.isatty()
    if terminal:
        digits = {
            index: min(max((width(row[index]) for row in cells), default=0), limits[index])
            for index, heading in enumerate(headings)
            if heading in numbers
        }
        _fit(widths, headings, digits, shutil.get_terminal_size().columns)
    right = [heading in numbers for heading in headings]
    click.echo(_line(headings, widths, right))
    click.echo(_line(["-" * wide for wide in widths], widths, right))
    for row in cells:
        click.echo(_line(row, widths, right, COLOURS if terminal else {}))


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    if len(text) > MAX_CHARACTERS:
        text = f"{text[: MAX_CHARACTERS - 1]}…"
    return on_one_line(text)


def _limit(heading: str, numbers: Sequence[str]) -> int:
    if heading in WHOLE:
        return LONGEST_ID
    return max(LONGEST_NUMBER, len(heading)) if heading in numbers else LONGEST


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], colours: Mapping[str, str] = {}) -> str:
    parts = [
        _coloured(_set(cell, wide, to_the_right=is_right), colours.get(cell))
        for cell, wide, is_right in zip(cells, widths, right, strict=True)
    ]
    return (" " * GAP).join(parts).rstrip()


def _set(text: str, wide: int, *, to_the_right: bool) -> str:
    """Return the text with exactly this width on a terminal, where a character may take two places."""
    if width(text) > wide:
        text = clip(text, 0, wide - 1).rstrip() + "…"
    blanks = " " * (wide - width(text))
    return blanks + text if to_the_right else text + blanks


def _fit(widths: list[int], headings: Sequence[str], digits: Mapping[int, int], terminal: int) -> None:
    """Narrows the widest columns until a line fits, those first that lose least by it.

    `digits` are the columns of numbers, and how wide their widest number is: only their headings are cut.
    """
    others = [(index, heading) for index, heading in enumerate(headings) if index not in digits]
    text = [index for index, heading in others if heading not in (*WHOLE, *TIMES)]
    times = [index for index, heading in others if heading in TIMES]
    for floors in (
        dict.fromkeys(text, COMFORTABLE),
        {index: max(HEADING, wide) for index, wide in digits.items()},
        dict.fromkeys(times, MINUTE),
        dict.fromkeys(text, NARROW),
        dict.fromkeys(times, DATE),
    ):
        while sum(widths) + GAP * (len(widths) - 1) > terminal:
            wider = [index for index, least in floors.items() if widths[index] > least]
            if not wider:
                break
            widths[max(wider, key=widths.__getitem__)] -= 1


def _coloured(text: str, colour: str | None) -> str:
    return click.style(text, fg=colour) if colour else text


def utc_time(epoch: float) -> str:
    """UTC, as everywhere in this project."""
    return iso_utc(epoch).replace("T", " ")


def age(seconds: float) -> str:
    """`3d 4h`, `2h 5m`, `12s`: two units at the most; `0s` for a time that is still to come."""
    left, parts = max(0, int(seconds)), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
