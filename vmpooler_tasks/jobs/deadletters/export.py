"""Dead letters as lines of JSON or CSV, one after another: an export of any size needs little memory.

An export may be printed on a terminal and opened by a spreadsheet. Control characters and invisible ones are escaped in
both forms; a parser of JSON reads the original text. In CSV, nothing starts a formula.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from vmpooler_tasks.model.deadletters.entry import FIELDS, StoredDeadLetter
from vmpooler_tasks.model.names import on_one_line, printable_json

COLUMNS = ("queue", *FIELDS)

_FORMULA_SIGNS = "-=+@|%\u2212\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
"""Signs that start a formula, also as the minus sign, full-width and small: some spreadsheets fold them."""

_FORMULA = re.compile(rf'(?:^|(?<=[;\n]))(?=[ "]*(?:\\[nrt][ "]*)*[{_FORMULA_SIGNS}])|^(?=\n|\\[nrt])')
"""Where a spreadsheet may start a formula: before such a sign, blanks, quotes and escaped tabs left aside.

At the start of a field. After `;`: where the local list separator is `;`, a spreadsheet ends a field there, even within
quotes. After a line break, for the same reason.
"""


class ExportFormat(StrEnum):
    """The forms of an export."""

    JSONL = "jsonl"
    CSV = "csv"


def json_lines(entries: Iterable[StoredDeadLetter]) -> Iterator[str]:
    """Yield a line of JSON for each dead letter."""
    for entry in entries:
        yield printable_json(entry.as_json()) + "\n"


def csv_lines(entries: Iterable[StoredDeadLetter]) -> Iterator[str]:
    """Yield the heading of a table, and a row for each dead letter. Every field is quoted, and may have line breaks."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, extrasaction="ignore", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    for entry in entries:
        yield _taken(buffer)
        writer.writerow(_row(entry.as_json()))
    yield _taken(buffer)


LINES: Mapping[ExportFormat, Callable[[Iterable[StoredDeadLetter]], Iterator[str]]] = {
    ExportFormat.JSONL: json_lines,
    ExportFormat.CSV: csv_lines,
}


def as_text(value: Any) -> str:
    """Return text unchanged, and any other value as JSON that needs no further escapes."""
    return value if isinstance(value, str) else printable_json(value, separators=(", ", ": "))


def _taken(buffer: io.StringIO) -> str:
    """Return what the buffer holds, and empty it."""
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _row(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the row as text, with `'` before what a spreadsheet would run as a formula."""
    texts = {name: as_text(value) for name, value in fields.items()}
    return {name: _FORMULA.sub("'", "\n".join(map(on_one_line, text.split("\n")))) for name, text in texts.items()}
