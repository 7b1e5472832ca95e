"""Print results: tables for people, JSON for machines, colours only on a terminal."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import click

from vmpooler_tasks.cli.shared.program import PROGRAM
from vmpooler_tasks.cli.shared.table import STATUS_COLOURS, PastTime, Table, in_colour
from vmpooler_tasks.cli.shared.terminal import display_width, wrap
from vmpooler_tasks.errors import StoreUnavailableError
from vmpooler_tasks.model.names import on_one_line, printable_json

__all__ = [
    "STATUS_COLOURS",
    "PastTime",
    "age",
    "print_json",
    "print_json_line",
    "print_line",
    "print_note",
    "print_table",
    "repeat",
    "utc_time",
]


def repeat(show: Callable[[], None], seconds: float) -> NoReturn:
    """Call `show` again and again. Raise StoreUnavailableError at the first call only.

    A later one starts an outage: it is printed to stderr once, and so is its end.
    """
    show()
    failed_at: float | None = None
    while True:
        sys.stdout.flush()
        time.sleep(seconds)
        try:
            show()
        except StoreUnavailableError as error:
            if failed_at is None:
                failed_at = time.monotonic()
                print_note(f"{on_one_line(str(error)).rstrip('.')}. Trying again until it does")
        else:
            if failed_at is not None:
                print_note(f"Redis replies again, after {time.monotonic() - failed_at:.0f} s")
                failed_at = None


def print_json(value: Any) -> None:
    """Print indented JSON. What a terminal would obey, and what it would not show, has JSON's own escapes."""
    sys.stdout.write(printable_json(value, indent=2, ascii_only=not _prints_all(), default=str) + "\n")


def print_json_line(value: Any) -> None:
    """Print JSON on one line, for output that continues."""
    sys.stdout.write(printable_json(value, ascii_only=not _prints_all(), default=str) + "\n")


def _prints_all() -> bool:
    """Return whether stdout takes every character. In other encodings, JSON has its own escapes."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def print_line(text: str, colour: str | None = None, *, hang: int = 0) -> None:
    """Print the text on one line, on a terminal wrapped between words. `hang` is the indent of the further lines.

    Control characters are escaped: text from Redis may contain anything.
    """
    for line in wrap(on_one_line(text), display_width(), hang=hang):
        click.echo(in_colour(line, colour))


def print_note(text: str) -> None:
    """Write one line to stderr, after the program's name: what is not part of the result."""
    sys.stderr.write(f"{PROGRAM}: {on_one_line(text)}\n")


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    numbers: Sequence[str] = (),
    below: Sequence[Sequence[str]] = (),
) -> None:
    """Print rows below their headings; `numbers` names the columns that are aligned to the right.

    A table fits the terminal: `below` names the groups of columns that may move below their row, and text is cut with
    an ellipsis (shared/table.py). JSON has every field whole.
    """
    table = Table(headings, numbers=numbers, below=below)
    for row in rows:
        table.add(row)
    table.flush()


def utc_time(epoch: float, now: float) -> PastTime:
    """Return the time for a table, in UTC: `2024-01-15 10:30:00Z`, or `3 h` where there is no room.

    Both are in seconds since the epoch, by the server's clock.
    """
    return PastTime(epoch, now)


def age(seconds: float) -> str:
    """Return a duration in at most two units: `3d 4h`, `2h 5m`, `12s`. A negative one is `0s`."""
    left, parts = max(0, int(seconds)), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
