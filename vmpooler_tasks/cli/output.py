"""How results are shown: tables for people, JSON for machines, colours only on a terminal."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.timestamps import iso_utc

COLOURS = {
    "healthy": "green",
    "ok": "green",
    "degraded": "yellow",
    "warn": "yellow",
    "unhealthy": "red",
    "fail": "red",
}


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def print_json_line(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")


def print_line(text: str, colour: str | None = None) -> None:
    _console().print(text, style=colour, markup=False, highlight=False, soft_wrap=True)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
    """`numbers` names the columns that are set to the right. The last column gives way on a narrow terminal."""
    from rich import box  # noqa: PLC0415 - JSON needs none of this
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in headings:
        last = heading == headings[-1]
        table.add_column(
            heading,
            justify="right" if heading in numbers else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    for row in rows:
        cells = [on_one_line("" if cell is None else str(cell)) for cell in row]
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in cells))
    _console().print(table)


def local_time(epoch: float) -> str:
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


def _console() -> Any:
    from rich.console import Console  # noqa: PLC0415

    # Into a pipe there is no width to keep to: a cut-off id would be worthless there.
    return Console() if sys.stdout.isatty() else Console(width=10_000, no_color=True, force_terminal=False)
