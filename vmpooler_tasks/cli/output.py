"""How results are shown: tables for people, JSON for machines, colours only on a terminal."""

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.timestamps import iso_utc

COLOURS = {"healthy": "green", "ok": "green", "degraded": "yellow", "warn": "yellow", "unhealthy": "red", "fail": "red"}
GAP = 2
"""Blanks between columns, and those that tabulate adds to each heading."""
NARROWEST = 20


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def print_json_line(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")


def print_line(text: str, colour: str | None = None) -> None:
    click.echo(_coloured(text, colour))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
    """`numbers` names the columns that are set to the right. On a terminal the last column is cut to fit.

    Into a pipe nothing is cut off: half an id would be worthless there.
    """
    from tabulate import tabulate  # noqa: PLC0415 - JSON needs no table

    cells = [[on_one_line("" if cell is None else str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _fit(headings, cells, shutil.get_terminal_size().columns)
        cells = [[_coloured(cell, COLOURS.get(cell)) for cell in row] for row in cells]
    align = ["right" if heading in numbers else "left" for heading in headings]
    click.echo(tabulate(cells, headings, tablefmt="simple", disable_numparse=True, colalign=align if cells else None))


def _coloured(text: str, colour: str | None) -> str:
    return click.style(text, fg=colour) if colour else text


def _fit(headings: Sequence[str], cells: list[list[str]], width: int) -> None:
    columns = list(zip(headings, *cells, strict=True))[:-1]
    others = sum(max(len(heading) + GAP, *map(len, rest)) + GAP for heading, *rest in columns)
    room = max(width - others, NARROWEST)
    for row in cells:
        if len(row[-1]) > room:
            row[-1] = row[-1][: room - 1] + "…"


def utc_time(epoch: float) -> str:
    """UTC, as everywhere in this project."""
    return iso_utc(epoch).replace("T", " ")


def age(seconds: float) -> str:
    """`3d 4h`, `2h 5m`, `12s`: two units at the most."""
    left, parts = int(abs(seconds)), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
