"""Print results: tables for people, JSON for machines, colours only on a terminal."""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from wcwidth import clip, width

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.timestamps import iso_utc

STATUS_COLOURS = {
    "healthy": "green",
    "ok": "green",
    "degraded": "yellow",
    "warn": "yellow",
    "unhealthy": "red",
    "fail": "red",
}
GAP = 2
"""Blanks between columns."""

UNCUT_COLUMNS = ("ID", "EXAMPLE")
"""Columns that are not cut to fit a terminal: half an id is of no use."""

TIME_COLUMNS = ("TIME", "FAILED AT", "NEWEST", "OLDEST")
"""Columns that are cut to minutes before other text becomes too short to read, and at the end to the date."""

MAX_WIDTH = 80
"""The maximum width of a column in a pipe, where no terminal bounds it."""

MAX_ID_WIDTH, MAX_NUMBER_WIDTH = 36, 12
"""The maximum width of `UNCUT_COLUMNS` (a UUID has 36 characters) and of numbers, also on a terminal."""

MAX_CELL_CHARACTERS = 8 * MAX_WIDTH
"""Characters of a field that are measured: a text may have thousands of marks that take no place on a terminal."""

# Widths to which columns are cut, step by step (`_narrow`).
READABLE_TEXT_WIDTH = 16
MIN_TEXT_WIDTH = 6
MIN_NUMBER_WIDTH = 4
MINUTE_WIDTH = 17
DATE_WIDTH = 10


def print_json(value: Any) -> None:
    """Print indented JSON."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def print_json_line(value: Any) -> None:
    """Print JSON on one line, for output that continues."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")


def print_line(text: str, colour: str | None = None) -> None:
    """Print the text on one line. Control characters are escaped: text from Redis may contain anything."""
    click.echo(_in_colour(on_one_line(text), colour))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
    """Print rows below their headings; `numbers` names the columns that are aligned to the right.

    On a terminal, columns are cut so that a line fits. In a pipe, each column has its own limit (`MAX_WIDTH`), so that
    one long field does not widen every line. What is cut ends with an ellipsis; JSON has every field whole.
    """
    cells = [[_cell_text(cell) for cell in row] for row in rows]
    limits = [_max_width(heading, numbers) for heading in headings]
    widths = [min(max(map(width, column)), limit) for limit, *column in zip(limits, headings, *cells, strict=True)]
    terminal = sys.stdout.isatty()
    if terminal:
        digits = {
            index: min(max((width(row[index]) for row in cells), default=0), limits[index])
            for index, heading in enumerate(headings)
            if heading in numbers
        }
        _narrow(widths, headings, digits, shutil.get_terminal_size().columns)
    right = [heading in numbers for heading in headings]
    click.echo(_format_row(headings, widths, right))
    click.echo(_format_row(["-" * cell_width for cell_width in widths], widths, right))
    for row in cells:
        click.echo(_format_row(row, widths, right, STATUS_COLOURS if terminal else {}))


def _cell_text(value: Any) -> str:
    text = "" if value is None else str(value)
    if len(text) > MAX_CELL_CHARACTERS:
        text = f"{text[: MAX_CELL_CHARACTERS - 1]}…"
    return on_one_line(text)


def _max_width(heading: str, numbers: Sequence[str]) -> int:
    if heading in UNCUT_COLUMNS:
        return MAX_ID_WIDTH
    return max(MAX_NUMBER_WIDTH, len(heading)) if heading in numbers else MAX_WIDTH


def _format_row(
    cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], colours: Mapping[str, str] = {}
) -> str:
    parts = [
        _in_colour(_pad(cell, cell_width, to_the_right=is_right), colours.get(cell))
        for cell, cell_width, is_right in zip(cells, widths, right, strict=True)
    ]
    return (" " * GAP).join(parts).rstrip()


def _pad(text: str, cell_width: int, *, to_the_right: bool) -> str:
    """Return the text cut or padded to this width. On a terminal a character may take two places."""
    if width(text) > cell_width:
        text = clip(text, 0, cell_width - 1).rstrip() + "…"
    blanks = " " * (cell_width - width(text))
    return blanks + text if to_the_right else text + blanks


def _narrow(widths: list[int], headings: Sequence[str], digits: Mapping[int, int], terminal: int) -> None:
    """Narrow `widths` in place until a line fits: step by step, the widest column first.

    `digits` maps the columns of numbers to the width of their widest number: only their headings are cut.
    """
    others = [(index, heading) for index, heading in enumerate(headings) if index not in digits]
    text = [index for index, heading in others if heading not in (*UNCUT_COLUMNS, *TIME_COLUMNS)]
    times = [index for index, heading in others if heading in TIME_COLUMNS]
    for floors in (
        dict.fromkeys(text, READABLE_TEXT_WIDTH),
        {index: max(MIN_NUMBER_WIDTH, cell_width) for index, cell_width in digits.items()},
        dict.fromkeys(times, MINUTE_WIDTH),
        dict.fromkeys(text, MIN_TEXT_WIDTH),
        dict.fromkeys(times, DATE_WIDTH),
    ):
        while sum(widths) + GAP * (len(widths) - 1) > terminal:
            wider = [index for index, floor in floors.items() if widths[index] > floor]
            if not wider:
                break
            widths[max(wider, key=widths.__getitem__)] -= 1


def _in_colour(text: str, colour: str | None) -> str:
    return click.style(text, fg=colour) if colour else text


def utc_time(epoch: float) -> str:
    """Return the time in UTC: `2024-01-15 10:30:00Z`."""
    return iso_utc(epoch).replace("T", " ")


def age(seconds: float) -> str:
    """Return a duration in at most two units: `3d 4h`, `2h 5m`, `12s`. A negative one is `0s`."""
    left, parts = max(0, int(seconds)), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
