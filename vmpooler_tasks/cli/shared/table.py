"""Lay out a table: in one line for each row where it fits, otherwise step by step in less room.

1. Times become short (`3 h`), and known headings become short (`RETR.`).
2. The columns that the caller names move below their row, on lines of their own, the last group first.
3. The name of a pool moves to a line above its row, whole.
4. Text columns are cut, down to `READABLE_WIDTH`.
5. Each row becomes a block with a line for each column.

In a pipe without COLUMNS there is no limit for a line. Each column has its own (`MAX_WIDTH`), so that one long field
does not widen every line.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import click
from wcwidth import width

from vmpooler_tasks.cli.shared.terminal import cut, display_width, wrap
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.timestamps import iso_utc, span

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

MAX_WIDTH = 80
"""The maximum width of a column in a pipe, where no terminal bounds it."""

MAX_ID_WIDTH, MAX_NUMBER_WIDTH = 36, 12
"""The maximum width of `UNCUT_COLUMNS` (a UUID has 36 characters) and of numbers, also on a terminal."""

MAX_CELL_CHARACTERS = 8 * MAX_WIDTH
"""Characters of a field that are measured: a text may have thousands of marks that take no place on a terminal."""

READABLE_WIDTH = 12
"""Text columns are not cut below this width."""

MAX_LINES_BELOW = 4
"""Lines of a field that moved below its row. JSON has the whole field."""

NAME_COLUMNS = ("POOL",)
"""Columns that move above their row if they are the first: half a name is of no use either."""

INDENT = "  "
"""The indent of a field below its row."""

SHORT_HEADINGS = {
    "COMPLETED": "COMPL.",
    "DELIVERED": "DELIV.",
    "FAILED AT": "AGO",
    "OBSOLETE": "OBS.",
    "OLDEST READY": "OLDEST",
    "ORPHANED": "ORPH.",
    "PENDING": "PEND.",
    "REDRIVEN": "REDR.",
    "RETRIES": "RETR.",
    "RUNNING": "RUN.",
    "SELECTED": "SEL.",
    "TIME": "AGO",
}
"""Headings where the whole ones do not fit. The times below AGO are short."""


@dataclass(frozen=True, slots=True)
class PastTime:
    """A time in a table, in seconds since the epoch. It is shown as how long ago where there is no room.

    `now` is by the server's clock, as the time is: the clock of this terminal may be wrong.
    """

    epoch: float
    now: float

    def __str__(self) -> str:
        return iso_utc(self.epoch).replace("T", " ")

    def short(self) -> str:
        """Return how long ago it was, in one unit: `45 s`, `12 min`, `3 h`, `5 d`."""
        return span(self.now - self.epoch, at_least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the cells of a row go: `columns` are in its line, `above` and `below` on lines of their own (indices)."""

    line_width: int | None
    short: bool = False
    columns: tuple[int, ...] = ()
    widths: Mapping[int, int] = field(default_factory=dict)
    below: tuple[tuple[int, ...], ...] = ()
    above: tuple[int, ...] = ()
    as_blocks: bool = False


class Table:
    """Rows below their headings; `numbers` names the columns that are aligned to the right.

    `below` names the groups of columns that may move below their row. Call `add` for each row, and `flush` at the end.
    A table that grows slowly is printed piece by piece with `flush_pending`.
    """

    def __init__(
        self, headings: Sequence[str], *, numbers: Sequence[str] = (), below: Sequence[Sequence[str]] = ()
    ) -> None:
        self._headings = tuple(headings)
        self._numbers = frozenset(numbers)
        self._below = tuple(tuple(map(self._headings.index, group)) for group in below)
        self._rows: list[Sequence[Any]] = []
        self._has_heading = False

    def add(self, row: Sequence[Any]) -> None:
        """Add a row, which the next `flush` prints."""
        self._rows.append(row)

    def flush_pending(self) -> None:
        """Print the rows that were added since the last time, if there are any."""
        if self._rows:
            self.flush()

    def flush(self) -> None:
        """Print the rows that were added since the last time; the first time also the headings."""
        rows, self._rows = self._rows, []
        layout, cells = self._fit(rows)
        for line in self._lines(layout, cells):
            click.echo(line)
        self._has_heading = True

    def _fit(self, rows: Sequence[Sequence[Any]]) -> tuple[Layout, list[list[str]]]:
        """Return the first layout that fits, and the cells as it shows them."""
        line_width = display_width()
        layout = Layout(line_width=line_width, columns=tuple(range(len(self._headings))))
        whole = self._cells(rows, short=False)
        layout = replace(layout, widths=self._widths(layout, whole))
        if line_width is None or _line_width(layout.widths) <= line_width:
            return layout, whole
        cells = self._cells(rows, short=True)
        layout = replace(layout, short=True)
        moved: set[int] = set()
        for count in range(len(self._below) + 1):
            below = self._below[len(self._below) - count :]
            moved = {index for group in below for index in group}
            layout = self._without(replace(layout, below=below), moved, cells)
            if _line_width(layout.widths) <= line_width:
                return layout, cells
        if self._headings[0] in NAME_COLUMNS:
            layout = self._without(replace(layout, above=(0,)), {0, *moved}, cells)
        narrowed = dict(layout.widths)
        self._narrow(narrowed, line_width)
        return replace(layout, widths=narrowed, as_blocks=_line_width(narrowed) > line_width), cells

    def _without(self, layout: Layout, moved: Collection[int], cells: Sequence[Sequence[str]]) -> Layout:
        """Return the layout without the columns that moved to lines of their own."""
        left = tuple(index for index in range(len(self._headings)) if index not in moved)
        layout = replace(layout, columns=left)
        return replace(layout, widths=self._widths(layout, cells))

    def _cells(self, rows: Sequence[Sequence[Any]], *, short: bool) -> list[list[str]]:
        return [[self._cell(value, short=short) for value in row] for row in rows]

    def _cell(self, value: Any, *, short: bool) -> str:
        if isinstance(value, PastTime):
            return value.short() if short else str(value)
        text = "" if value is None else str(value)
        return on_one_line(text if len(text) <= MAX_CELL_CHARACTERS else f"{text[: MAX_CELL_CHARACTERS - 1]}…")

    def _heading(self, layout: Layout, index: int) -> str:
        heading = self._headings[index]
        return SHORT_HEADINGS.get(heading, heading) if layout.short else heading

    def _widths(self, layout: Layout, cells: Sequence[Sequence[str]]) -> dict[int, int]:
        widths = {}
        for index in layout.columns:
            heading = self._heading(layout, index)
            widest = max([width(heading), *(width(row[index]) for row in cells)])
            widths[index] = min(widest, self._max_width(index))
        return widths

    def _max_width(self, index: int) -> int:
        heading = self._headings[index]
        if heading in UNCUT_COLUMNS:
            return MAX_ID_WIDTH
        return max(MAX_NUMBER_WIDTH, len(heading)) if heading in self._numbers else MAX_WIDTH

    def _narrow(self, widths: dict[int, int], line_width: int) -> None:
        """Narrow the text columns in place, the widest first, until a line fits or none can become narrower."""
        fixed = {*UNCUT_COLUMNS, *self._numbers}
        text = [index for index in widths if self._headings[index] not in fixed]
        while _line_width(widths) > line_width:
            wider = [index for index in text if widths[index] > READABLE_WIDTH]
            if not wider:
                return
            widths[max(wider, key=widths.__getitem__)] -= 1

    def _lines(self, layout: Layout, cells: Sequence[Sequence[str]]) -> Iterator[str]:
        if layout.as_blocks:
            for row in cells:
                yield from self._block(layout, row)
            return
        if not self._has_heading:
            yield from (self._headings[index] for index in layout.above)
            yield self._line(layout, [self._heading(layout, index) for index in range(len(self._headings))])
            yield self._line(layout, ["-" * layout.widths.get(index, 0) for index in range(len(self._headings))])
        for row in cells:
            yield from (cut(row[index], layout.line_width or MAX_WIDTH) for index in layout.above)
            yield self._line(layout, row, STATUS_COLOURS)
            yield from _lines_below(layout, row)

    def _line(self, layout: Layout, row: Sequence[str], colours: Mapping[str, str] = {}) -> str:
        parts = [
            in_colour(
                _pad(row[index], layout.widths[index], to_the_right=self._headings[index] in self._numbers),
                colours.get(row[index]),
            )
            for index in layout.columns
        ]
        return (" " * GAP).join(parts).rstrip()

    def _block(self, layout: Layout, row: Sequence[str]) -> Iterator[str]:
        """Yield a line for each cell that is not empty, and an empty line: a table would be too wide."""
        name_width = max(map(width, self._headings))
        for heading, cell in zip(self._headings, row, strict=True):
            if cell:
                line = f"{_pad(heading, name_width, to_the_right=False)}{' ' * GAP}{cell}"
                lines = wrap(line, layout.line_width, hang=name_width + GAP, break_words=True)
                yield from islice(lines, MAX_LINES_BELOW)
        yield ""


def _line_width(widths: Mapping[int, int]) -> int:
    """Return the width of a line with columns of these widths."""
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _lines_below(layout: Layout, row: Sequence[str]) -> Iterator[str]:
    """Yield the fields that moved below the row: those of a group in one line, or each in lines of its own."""
    for group in layout.below:
        texts = [row[index] for index in group if row[index] not in ("", "-")]
        joined = (" " * GAP).join(texts)
        one_line = layout.line_width is None or width(INDENT + joined) <= layout.line_width
        for text in filter(None, [joined] if one_line else texts):
            lines = list(wrap(INDENT + text, layout.line_width, break_words=True))
            yield from lines[: MAX_LINES_BELOW - 1]
            if left := lines[MAX_LINES_BELOW - 1 :]:
                yield left[0] if len(left) == 1 else cut(f"{left[0]}…", layout.line_width or MAX_WIDTH)


def _pad(text: str, cell_width: int, *, to_the_right: bool) -> str:
    """Return the text cut or padded to this width."""
    shown = cut(text, cell_width)
    blanks = " " * (cell_width - width(shown))
    return blanks + shown if to_the_right else shown + blanks


def in_colour(text: str, colour: str | None) -> str:
    """Return the text in a colour; click removes it where colours are off (`--color`, NO_COLOR, a pipe)."""
    return click.style(text, fg=colour) if colour else text
