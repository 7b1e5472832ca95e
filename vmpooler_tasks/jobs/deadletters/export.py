"""Dead letters as lines of JSON or CSV, one after another: an export of any size needs little memory."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from vmpooler_tasks.model.deadletters.entry import FIELDS, StoredDeadLetter

COLUMNS = ("queue", *FIELDS)
FORMULA_STARTS = ("=", "+", "-", "@", "\t")
"""A spreadsheet runs a text that starts with one of these as a formula."""


class ExportFormat(StrEnum):
    """The forms of an export."""

    JSONL = "jsonl"
    CSV = "csv"


def json_lines(entries: Iterable[StoredDeadLetter]) -> Iterator[str]:
    """Yield a line of JSON for each dead letter."""
    for entry in entries:
        yield _encodable(json.dumps(entry.as_json(), ensure_ascii=False, separators=(",", ":")) + "\n")


def csv_lines(entries: Iterable[StoredDeadLetter]) -> Iterator[str]:
    """Yield the heading of a table, and a row for each dead letter. A field may contain line breaks."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, extrasaction="ignore")
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
    """Return text unchanged, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _taken(buffer: io.StringIO) -> str:
    """Return what the buffer holds, and empty it."""
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return _encodable(text)


def _row(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the row as text. A text that a spreadsheet would run as a formula is quoted."""
    texts = {name: as_text(value) for name, value in fields.items()}
    return {name: f"'{text}" if text.startswith(FORMULA_STARTS) else text for name, text in texts.items()}


def _encodable(text: str) -> str:
    """Return the text with lone surrogates escaped: JSON can hold them, UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
